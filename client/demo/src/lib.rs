//! Writes the demo corpus and concepts, trains the bundled demo model and reports its perplexity.

pub mod checkpoint;
pub mod concepts;
pub mod conditioned;
pub mod corpus;
mod dropout;
pub mod error;
pub mod evaluate;
mod file;
mod fused;
pub mod gpt2;
pub mod grammar;
mod ngram;
pub mod occupation;
pub mod perplexity;
pub mod pronouns;
pub mod sample;
pub mod tokenizer;
pub mod topic;
pub mod train;
