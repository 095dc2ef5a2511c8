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

    /// How many of a concept's best units are its experts, where those are enough to know: `leading` are the first of the
    /// model's `units` units by falling AP, ties in unit order, and the experts are the first of them. `None` if there may be
    /// more experts than `leading` holds.
    ///
    /// # Errors
    /// If k is 0 or above the number of units.
    pub fn leading(self, leading: &[(UnitId, f32)], units: u32) -> Result<Option<usize>, BadK> {
        let all = leading.len() == units as usize;
        match self {
            Self::Top(k) if k == 0 || k > units => Err(BadK::OutOfRange { k, units }),
            Self::Top(k) => Ok(Some(k as usize).filter(|&k| k <= leading.len())),
            Self::MinAp(least) => {
                let count = leading.iter().take_while(|&&(_, ap)| ap >= least).count();
                Ok(Some(count).filter(|&count| all || count < leading.len()))
            }
        }
    }
}

impl Experts {
    /// How many experts a concept has, and how many of them `others` holds, one bit a unit in words of 64; `ap` is `[unit]`.
    ///
    /// # Errors
    /// If k is 0 or above the number of units.
    pub fn count(self, ap: &[f32], others: &[u64]) -> Result<(usize, usize), BadK> {
        let Self::MinAp(least) = self else {
            let units = self.of(ap)?;
            return Ok((units.len(), units.iter().filter(|unit| holds(others, **unit)).count()));
        };
        let words = ap.chunks(64).zip(others);
        Ok(words.fold((0, 0), |(own, shared), (ap, others)| {
            let word = ap.iter().rev().fold(0u64, |word, &ap| word << 1 | u64::from(ap >= least));
            (own + word.count_ones() as usize, shared + (word & others).count_ones() as usize)
        }))
    }
}

/// Whether a set of units, one bit a unit in words of 64, holds one.
pub fn holds(units: &[u64], unit: UnitId) -> bool {
    units.get(unit.index() / 64).is_some_and(|word| word >> (unit.0 % 64) & 1 == 1)
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
    let (x, y) = (Moments::of(first), Moments::of(second));
    Ok(Overlap::of(&a, &b, correlation((first, &x), (second, &y))))
}

impl Overlap {
    /// From the experts of both, by falling AP, and the correlation.
    pub fn of(first: &[UnitId], second: &[UnitId], correlation: f64) -> Self {
        let in_second: FxHashSet<UnitId> = second.iter().copied().collect();
        let shared: Vec<UnitId> = first.iter().copied().filter(|unit| in_second.contains(unit)).collect();
        let jaccard = jaccard(first.len(), second.len(), shared.len());
        Self { first: first.len() as u32, second: second.len() as u32, shared, jaccard, correlation }
    }
}

/// |A ∩ B| / |A ∪ B|, by |A|, |B| and |A ∩ B|; 0 if there are none.
pub fn jaccard(first: usize, second: usize, shared: usize) -> f64 {
    let union = first + second - shared;
    if union == 0 { 0.0 } else { shared as f64 / union as f64 }
}

/// What one side brings to a correlation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    /// The mean.
    pub mean: f64,
    /// Sum of squared deviations from the mean.
    pub squares: f64,
}

impl Moments {
    /// Of AP, `[unit]`. The sums run in unit order, so equal values give equal bits.
    pub fn of(ap: &[f32]) -> Self {
        let mean = ap.iter().map(|&a| f64::from(a)).sum::<f64>() / ap.len() as f64;
        let squares = ap.iter().fold(0.0, |sum, &a| {
            let deviation = f64::from(a) - mean;
            sum + deviation * deviation
        });
        Self { mean, squares }
    }
}

/// Pearson correlation of two concepts' AP, `[unit]` each with its moments; 0 where one side does not vary.
pub fn correlation((x, of_x): (&[f32], &Moments), (y, of_y): (&[f32], &Moments)) -> f64 {
    if of_x.squares == 0.0 || of_y.squares == 0.0 {
        return 0.0;
    }
    let product = |(&a, &b): (&f32, &f32)| (f64::from(a) - of_x.mean) * (f64::from(b) - of_y.mean);
    let xy = x.iter().zip(y).map(product).fold(0.0, |sum, product| sum + product);
    xy / (of_x.squares * of_y.squares).sqrt()
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

/// What the same module of every block sums up to.
#[derive(Clone, Debug, PartialEq)]
pub struct KindShare<'s> {
    /// The module's name without the block: `mlp.c_fc`.
    pub name: &'s str,
    /// Its units in all blocks.
    pub units: u32,
    /// How many of them are experts.
    pub experts: u32,
    /// Share of all experts, 0 to 1.
    pub share: f64,
    /// Highest AP among them.
    pub max_ap: f32,
}

/// Sums layers up by kind, in the order in which kinds come first.
pub fn kind_shares(shares: &[LayerShare]) -> Vec<KindShare<'_>> {
    let mut kinds: Vec<KindShare<'_>> = Vec::new();
    for share in shares {
        let name = share.layer.name.kind();
        let place = kinds.iter().position(|kind| kind.name == name).unwrap_or_else(|| {
            kinds.push(KindShare { name, units: 0, experts: 0, share: 0.0, max_ap: f32::MIN });
            kinds.len() - 1
        });
        let kind = &mut kinds[place];
        kind.units += share.layer.units;
        kind.experts += share.experts;
        kind.max_ap = kind.max_ap.max(share.max_ap);
    }
    let total: u32 = kinds.iter().map(|kind| kind.experts).sum();
    for kind in &mut kinds {
        kind.share = f64::from(kind.experts) / f64::from(total.max(1));
    }
    kinds
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
    fn experts_are_counted_without_ranking() {
        let ap: Vec<f32> = (0..200).map(|unit| (unit * 37 % 101) as f32 / 100.0).collect();
        let others: Vec<u64> = (0..4).map(|word| 0x9E37_79B9_7F4A_7C15u64.rotate_left(word)).collect();
        for experts in
            [Experts::Top(1), Experts::Top(77), Experts::MinAp(0.4), Experts::MinAp(2.0), Experts::MinAp(-1.0)]
        {
            let units = experts.of(&ap).unwrap();
            let shared = units.iter().filter(|unit| others[unit.index() / 64] >> (unit.0 % 64) & 1 == 1).count();
            assert_eq!(experts.count(&ap, &others).unwrap(), (units.len(), shared), "{experts:?}");
        }
        assert!(Experts::Top(201).count(&ap, &others).is_err());
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
