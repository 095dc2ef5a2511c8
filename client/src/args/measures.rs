//! What is measured of units beside AP.

use lode_domain::{
    criterion::{Criterion, Intervals, Measures},
    holdout::Holdout,
};

/// What mining measures beside AP.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct MeasureArgs {
    /// By what units can be ranked afterwards: ap, which is always kept, auroc, cohens-d, and l1, the weights of a sparse
    /// logistic regression over the 1,000 units with the largest |Cohen's d|. auroc and cohens-d take 4 bytes a unit and
    /// concept each in the index.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "ap")]
    criteria: Vec<Criterion>,
    /// Hold this share of each class out, chosen by a hash of the texts: all scores and forcing values are of the others, and
    /// the AP on what was held out is kept beside.
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    holdout: Option<Holdout>,
    /// Bootstrap intervals on AP, of the K units with the highest: 1,000 draws by --seed.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=1000))]
    intervals: Option<u32>,
}

impl MeasureArgs {
    /// `seed` is that of draws.
    pub(crate) fn resolve(&self, seed: u64) -> Measures {
        let intervals = self.intervals.map(|units| Intervals { units, seed });
        Measures { criteria: self.criteria.iter().copied().collect(), holdout: self.holdout, intervals }
    }
}
