#![allow(missing_docs, dead_code, clippy::all)]
#[path = "../tests/common/tiny.rs"] mod tiny;
use lode_model::*; use lode_domain::{pooling::*, sampling::Sampling}; use std::{sync::Arc, time::Instant};
fn main() {
    let mut c = tiny::gpt2(); c["n_embd"] = 768.into(); c["n_head"] = 12.into(); c["n_layer"] = 12.into(); c["n_positions"] = 1024.into();
    let f = tiny::folder(&c, 1); let t = Instant::now();
    let m = Arc::new(Model::load(f.path(), &LoadOptions::default()).unwrap()); println!("load {:?} {} parameters", t.elapsed(), m.parameters());
    let mut r = tiny::Random::new(2);
    let s: Vec<_> = (0..60).map(|_| { let n = 10 + r.below(48); m.text().prepare(&r.text(n), Tokens::Own).unwrap().unwrap() }).collect();
    let tokens: usize = s.iter().map(|s| s.len()).sum();
    for _ in 0..2 { let t = Instant::now(); for b in pack(&s, &m.batch_shape()) { let b: Vec<_> = b.iter().map(|&i| &s[i]).collect(); m.responses(&b, Pooling::Max).unwrap(); }
      println!("mining {:.0} tokens/s", tokens as f64 / t.elapsed().as_secs_f64()); }
    for n in [1usize, 8, 32] { let mut e = Engine::new(m.clone());
      for i in 0..n { e.join(SequenceRequest { prompt: (0..16).map(|_| 1 + r.below(190) as u32).collect(), interventions: [].into(), sampling: Sampling { max_new_tokens: 48, ..Sampling::default() }, sample: i as u32 }).unwrap(); }
      let t = Instant::now(); let mut k = 0; while e.active() > 0 { k += e.step().unwrap().len(); } println!("generation x{n}: {k} tokens, {:.1} tokens/s", k as f64 / t.elapsed().as_secs_f64()); }
}
