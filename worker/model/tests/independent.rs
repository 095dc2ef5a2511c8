//! Against an implementation by other people: candle-transformers' Llama.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, helpers included")]

mod common;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::llama::{Cache, Llama, LlamaConfig};
use common::{load, tiny};

/// The same sums in another order: 1e-4 of logits of order ten.
#[test]
fn logits_are_those_of_candle_transformers() {
    let mut plain = tiny::llama();
    plain["rope_scaling"] = serde_json::Value::Null;
    for config in [plain, tiny::llama()] {
        let folder = tiny::folder(&config, 11);
        let model = load(folder.path());
        let other: LlamaConfig = serde_json::from_value(config.clone()).unwrap();
        let other = other.into_config(false);
        let weights = VarBuilder::from_tensors(tiny::tensors(&config, 11), DType::F32, &Device::Cpu);
        let llama = Llama::load(weights, &other).unwrap();
        let mut random = tiny::Random::new(3);
        for len in [1, 2, 17, 200] {
            let prompt: Vec<u32> = (0..len).map(|_| random.below(tiny::VOCAB) as u32).collect();
            let mut cache = Cache::new(true, DType::F32, &other, &Device::Cpu).unwrap();
            let input = Tensor::new(prompt.as_slice(), &Device::Cpu).unwrap().unsqueeze(0).unwrap();
            let expected = llama.forward(&input, 0, &mut cache).unwrap().squeeze(0).unwrap().to_vec1::<f32>().unwrap();
            let found = model.next_logits(&prompt, &[]).unwrap();
            let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-4, "{len} tokens: {worst:e}");
        }
    }
}
