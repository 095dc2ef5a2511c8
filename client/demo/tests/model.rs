//! The bundled model: the files are a Hugging Face GPT-2, and it has learned.

use std::{collections::BTreeMap, fs, path::Path};

use lode_demo::{
    corpus::{Corpus, CorpusSize},
    gpt2::Gpt2Config,
    perplexity,
};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use tokenizers::Tokenizer;

const BUNDLED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/model");

fn json(name: &str) -> Value {
    let text = fs::read_to_string(Path::new(BUNDLED).join(name)).expect("the file is there");
    serde_json::from_str(&text).expect("the file is JSON")
}

#[test]
fn the_config_is_gpt2s() {
    let config = json("config.json");
    for (key, expected) in [
        ("model_type", Value::from("gpt2")),
        ("architectures", Value::from(vec!["GPT2LMHeadModel"])),
        ("activation_function", Value::from("gelu_new")),
        ("layer_norm_epsilon", Value::from(1e-5)),
        ("tie_word_embeddings", Value::from(true)),
        ("n_embd", Value::from(128)),
        ("n_layer", Value::from(4)),
    ] {
        assert_eq!(config[key], expected, "{key}");
    }
}

#[test]
fn tensors_have_hugging_face_names_and_shapes() {
    let config: Gpt2Config = serde_json::from_value(json("config.json")).expect("the config is complete");
    let bytes = fs::read(Path::new(BUNDLED).join("model.safetensors")).expect("the weights are there");
    let file = SafeTensors::deserialize(&bytes).expect("the weights are safetensors");
    let found: BTreeMap<String, Vec<usize>> =
        file.tensors().into_iter().map(|(name, tensor)| (name, tensor.shape().to_vec())).collect();
    assert_eq!(found, config.tensors().into_iter().collect());
    assert_eq!(found["transformer.h.0.attn.c_attn.weight"], [128, 384], "Conv1D is [in, out]");
    assert!(file.tensors().iter().all(|(_, tensor)| tensor.dtype() == Dtype::F16));
    assert!(bytes.len() < 3_500_000, "{} bytes", bytes.len());
}

#[test]
fn the_tokenizer_reads_any_text_back() {
    let tokenizer = Tokenizer::from_file(Path::new(BUNDLED).join("tokenizer.json")).expect("the tokenizer loads");
    let end_of_text = tokenizer.token_to_id("<|endoftext|>").expect("the special token is there");
    assert_eq!(json("config.json")["eos_token_id"], end_of_text);
    for text in ["Yesterday the nurse said that she left.", " naïve – 漢字 🎉\n"] {
        let encoded = tokenizer.encode(text, true).expect("the text encodes");
        assert!(!encoded.get_ids().contains(&end_of_text), "no token is added to {text:?}");
        assert_eq!(tokenizer.decode(encoded.get_ids(), false).expect("the ids decode"), text);
    }
    let text = "The end.<|endoftext|>";
    assert_eq!(tokenizer.encode(text, false).expect("the text encodes").get_ids().last(), Some(&end_of_text));
}

#[test]
fn the_model_has_learned() {
    let corpus = Corpus::generate(7, CorpusSize { train: 0, held_out: 60 }).expect("the grammars load");
    let perplexity = perplexity::perplexity(Path::new(BUNDLED), &corpus.held_out).expect("the model runs");
    let reported = json("evaluation.json");
    let of = |name: &str| reported["perplexity"][name]["all"].as_f64().expect("the perplexity is reported");
    // 60 documents of 1,500: their own perplexity is within a few percent of the whole
    assert!((perplexity / of("model") - 1.0).abs() < 0.1, "{perplexity} here, {} reported", of("model"));
    assert!(of("model") < 0.6 * of("bigram") && of("bigram") < of("unigram"));
    let correlation = reported["occupations"]["correlation"].as_f64().expect("the correlation is reported");
    assert!(correlation > 0.9, "{correlation}");
}
