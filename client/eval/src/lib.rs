//! The mathematics of the evaluations, and the pages that show them: pure and synchronous, texts and numbers in, numbers out.
//!
//! Nothing here knows a cluster, a model or a file. `tests/golden` compares with nltk, transformers, scipy, scikit-learn and
//! numpy; `tests/golden/make.py` and `tcav.py` made what they said.

pub mod bleu;
pub mod bootstrap;
pub mod classifier;
pub mod distinct;
pub mod logistic;
pub mod page;
pub mod parity;
pub mod perplexity;
pub mod pronoun;
pub mod stats;
pub mod tcav;
pub mod text;
pub mod ttest;
pub mod words;
