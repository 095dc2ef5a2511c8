//! Queries over expertise: overlap of two concepts' experts, nearest concepts, experts per layer.

use rustc_hash::FxHashSet;

use crate::{
    intervention::Rank,
    ranking::{BadK, ranked},
    unit::{Layer, UnitId, UnitSpace},
};

/// Who counts as an expert.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Experts {
    /// The top k units.
    Top(u32),
    /// Every unit with at least this AP.
    MinAp(f32),
}

impl Experts {
    /// The experts by falling AP; `ap` is `[unit]`.
    ///
    /// # Errors
    /// If k is 0 or above the number of units.
    pub fn of(self, ap: &[f32]) -> Result<Vec<UnitId>, BadK> {
        match self {
            Self::Top(k) => ranked(ap, k, Rank::Top, 0),
            Self::MinAp(least) => match ap.iter().filter(|&&ap| ap >= least).count() as u32 {
                0 => Ok(Vec::new()),
                count => ranked(ap, count, Rank::Top, 0),
            },
        }
    }
}

/// How two concepts' experts overlap.
#[derive(Clone, Debug, PartialEq)]
pub struct Overlap {
    /// Experts of the first concept.
    pub first: u32,
    /// Experts of the second.
    pub second: u32,
    /// Units that are experts of both, by falling AP in the first.
    pub shared: Vec<UnitId>,
    /// |A ∩ B| / |A ∪ B|; 0 if there are no experts.
    pub jaccard: f64,
    /// Pearson correlation of AP over all units; 0 where one does not vary.
    pub correlation: f64,
}

/// Compares two concepts of one model; both `ap` are `[unit]`.
///
/// # Errors
/// If a top k is 0 or above the number of units.
pub fn overlap(first: &[f32], second: &[f32], experts: Experts) -> Result<Overlap, BadK> {
    let (a, b) = (experts.of(first)?, experts.of(second)?);
    let in_second: FxHashSet<UnitId> = b.iter().copied().collect();
    let shared: Vec<UnitId> = a.iter().copied().filter(|unit| in_second.contains(unit)).collect();
    let union = a.len() + b.len() - shared.len();
    let jaccard = if union == 0 { 0.0 } else { shared.len() as f64 / union as f64 };
    let (first_count, second_count) = (a.len() as u32, b.len() as u32);
    Ok(Overlap { first: first_count, second: second_count, shared, jaccard, correlation: correlation(first, second) })
}

/// Pearson correlation; 0 where one side does not vary.
fn correlation(x: &[f32], y: &[f32]) -> f64 {
    let n = x.len() as f64;
    let mean = |v: &[f32]| v.iter().map(|&a| f64::from(a)).sum::<f64>() / n;
    let (mean_x, mean_y) = (mean(x), mean(y));
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (&a, &b) in x.iter().zip(y) {
        let (dx, dy) = (f64::from(a) - mean_x, f64::from(b) - mean_y);
        xy += dx * dy;
        xx += dx * dx;
        yy += dy * dy;
    }
    if xx == 0.0 || yy == 0.0 { 0.0 } else { xy / (xx * yy).sqrt() }
}

/// One layer's share of a concept's experts.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerShare {
    /// The layer and its width.
    pub layer: Layer,
    /// How many of its units are experts.
    pub experts: u32,
    /// Highest AP in the layer.
    pub max_ap: f32,
    /// Mean AP over the layer's units.
    pub mean_ap: f32,
}

/// Counts experts per layer, in forward order; `ap` is `[unit]`.
///
/// # Errors
/// If a top k is 0 or above the number of units.
pub fn layer_shares(space: &UnitSpace, ap: &[f32], experts: Experts) -> Result<Vec<LayerShare>, BadK> {
    let mut counts = vec![0u32; space.layers().len()];
    for unit in experts.of(ap)? {
        counts[space.locate(unit).0] += 1;
    }
    let share = |(number, layer): (usize, &Layer)| {
        let ap = &ap[space.range(number)];
        let mean = ap.iter().map(|&ap| f64::from(ap)).sum::<f64>() / ap.len() as f64;
        let max_ap = ap.iter().copied().fold(f32::MIN, f32::max);
        LayerShare { layer: layer.clone(), experts: counts[number], max_ap, mean_ap: mean as f32 }
    };
    Ok(space.layers().iter().enumerate().map(share).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::LayerName;

    #[test]
    fn overlap_counts_shared_experts() {
        let (a, b) = ([0.9, 0.8, 0.1, 0.2], [0.9, 0.1, 0.8, 0.2]);
        let found = overlap(&a, &b, Experts::Top(2)).unwrap();
        assert_eq!((found.shared, found.jaccard), (vec![UnitId(0)], 1.0 / 3.0));
        let same = overlap(&a, &a, Experts::MinAp(0.5)).unwrap();
        assert_eq!((same.first, same.jaccard), (2, 1.0));
        assert!((same.correlation - 1.0).abs() < 1e-12);
        let none = overlap(&a, &b, Experts::MinAp(0.95)).unwrap();
        assert_eq!((none.first, none.second, none.jaccard), (0, 0, 0.0));
        assert!(overlap(&a, &b, Experts::Top(5)).is_err());
    }

    #[test]
    fn layers_share_the_experts() {
        let layer = |name: &str, units| Layer { name: LayerName::new(name), units };
        let space = UnitSpace::new(vec![layer("h.0.a", 1), layer("h.0.b", 3)]).unwrap();
        let shares = layer_shares(&space, &[0.9, 0.5, 0.8, 0.2], Experts::Top(2)).unwrap();
        assert_eq!(shares.iter().map(|s| s.experts).collect::<Vec<_>>(), [1, 1]);
        assert_eq!((shares[1].max_ap, shares[1].mean_ap), (0.8, 0.5));
    }
}
