//! What goes to standard output.
#![allow(clippy::print_stdout, reason = "standard output is this program's result")]

use lode_demo::{conditioned::Conditioned, evaluate::Evaluation};

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
    if let Some(conditioned) = &evaluation.conditioned {
        self::conditioned(conditioned);
    }
}

fn conditioned(conditioned: &Conditioned) {
    println!("\n{:<22}{:>6}{:>8}{:>9}{:>13}", "concept", "k", "texts", "share", "perplexity");
    for cell in &conditioned.cells {
        println!("{:<22}{:>6}{:>8}{:>9.3}{:>13.2}", cell.concept, cell.k, cell.texts, cell.share, cell.perplexity);
    }
    for (k, means) in &conditioned.by_k {
        let good = means.visible_and_fluent;
        println!("k = {k}: mean share {:.3}, perplexity {:.2}, {good} good", means.share, means.perplexity);
    }
    println!(
        "some k gives a share of {} or more at no more than {} times the perplexity for {} of {} concepts",
        conditioned.visible_from, conditioned.fluent_up_to, conditioned.visible_and_fluent, conditioned.concepts
    );
}
