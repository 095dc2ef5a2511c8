//! What goes to standard output.
#![allow(clippy::print_stdout, reason = "standard output is this program's result")]

use lode_demo::evaluate::Evaluation;

/// One line.
pub fn line(text: &str) {
    println!("{text}");
}

/// The evaluation's tables.
pub fn evaluation(evaluation: &Evaluation) {
    let held_out = &evaluation.held_out;
    println!(
        "{} parameters; {} held-out documents, {} sentences ({} of them in the training text), {} tokens ({} unseen)",
        evaluation.parameters,
        held_out.documents,
        held_out.sentences,
        held_out.seen_sentences,
        held_out.tokens,
        held_out.unseen_tokens,
    );
    println!("\n{:<14}{:>12}{:>18}", "perplexity", "all tokens", "unseen sentences");
    for (name, perplexity) in &evaluation.perplexity {
        println!("{name:<14}{:>12.2}{:>18.2}", perplexity.all, perplexity.unseen_sentences);
    }
    let pronouns = &evaluation.occupations;
    println!("\nshare of she after {:?}", pronouns.prompt);
    println!("{:<14}{:>9}{:>10}{:>9}{:>16}", "occupation", "planted", "training", "learned", "p(she) + p(he)");
    for share in &pronouns.shares {
        println!(
            "{:<14}{:>9.2}{:>10.2}{:>9.2}{:>16.3}",
            share.occupation, share.planted, share.training, share.learned, share.pronoun_mass
        );
    }
    println!("correlation {:.3}, mean difference {:.3}", pronouns.correlation, pronouns.mean_difference);
}
