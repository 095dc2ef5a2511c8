//! Ranking units by expertise, and resolving do(c,k) to the units it forces.

use crate::{
    criterion::Criterion,
    intervention::{Action, ForcedUnit, ForcingValue, Intervention, Positions, Rank},
    unit::UnitId,
};

/// A k that selects nothing or more than there is.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadK {
    /// Not a number of units.
    #[error("k is {k}: it must be between 1 and the model's {units} units")]
    OutOfRange {
        /// As asked for.
        k: u32,
        /// Units of the model.
        units: u32,
    },
    /// There are not as many after the first k.
    #[error("k is {k} with rank next: it must be at most {}, half of the model's {units} units", units / 2)]
    NoNext {
        /// As asked for.
        k: u32,
        /// Units of the model.
        units: u32,
    },
    /// A regression that chose fewer units.
    #[error(
        "k is {k} with rank {rank}: {criterion} gave only {chosen} units a weight of that sign, and the others none"
    )]
    NotChosen {
        /// As asked for.
        k: u32,
        /// As asked for.
        rank: Rank,
        /// The criterion.
        criterion: Criterion,
        /// Units that it chose.
        chosen: usize,
    },
}

/// Whether a criterion that gives most units no score at all, [`Criterion::L1`], gave enough of them one.
///
/// # Errors
/// If there are fewer; with [`Rank::Random`] it does not matter.
pub fn chosen_enough(criterion: Criterion, scores: &[f32], (k, rank): (u32, Rank)) -> Result<(), BadK> {
    if criterion != Criterion::L1 {
        return Ok(());
    }
    let count = |is_chosen: fn(&&f32) -> bool| scores.iter().filter(is_chosen).count();
    let (chosen, wanted) = match rank {
        Rank::Top => (count(|weight| **weight > 0.0), u64::from(k)),
        Rank::Next => (count(|weight| **weight > 0.0), 2 * u64::from(k)),
        Rank::Bottom => (count(|weight| **weight < 0.0), u64::from(k)),
        Rank::Random { .. } => return Ok(()),
    };
    if wanted <= chosen as u64 { Ok(()) } else { Err(BadK::NotChosen { k, rank, criterion, chosen }) }
}

/// Q_k: `k` units by (AP falling, layer in forward order, index), a total order; `ap` is `[unit]`.
///
/// [`Rank::Bottom`] takes the lowest AP first, ties again in unit order. [`Rank::Random`] draws without replacement,
/// by its own seed or else by `seed`; a draw of k + 1 contains the draw of k. [`Rank::Next`] takes the k that follow the first k.
///
/// # Errors
/// If k is 0 or above the number of units; with [`Rank::Next`], above half of it.
pub fn ranked(ap: &[f32], k: u32, rank: Rank, seed: u64) -> Result<Vec<UnitId>, BadK> {
    let units = ap.len() as u32;
    if k == 0 || k > units {
        return Err(BadK::OutOfRange { k, units });
    }
    if rank == Rank::Next && k > units / 2 {
        return Err(BadK::NoNext { k, units });
    }
    let k = k as usize;
    let numbered = || ap.iter().zip(0..);
    Ok(match rank {
        Rank::Top => first_k(numbered().map(|(&ap, unit)| falling(ap, UnitId(unit))), k),
        Rank::Next => first_k(numbered().map(|(&ap, unit)| falling(ap, UnitId(unit))), 2 * k).split_off(k),
        Rank::Bottom => first_k(numbered().map(|(&ap, unit)| rising(ap, UnitId(unit))), k),
        Rank::Random { seed: own } => {
            let seed = own.unwrap_or(seed);
            let mut units: Vec<UnitId> = (0..ap.len() as u32).map(UnitId).collect();
            let order = |a: &UnitId, b: &UnitId| draw(seed, *a).cmp(&draw(seed, *b));
            if k < units.len() {
                units.select_nth_unstable_by(k, order);
                units.truncate(k);
            }
            units.sort_unstable_by(order);
            units
        }
    })
}

/// A number for each unit that sorts as Q_k does: AP falling (in the order of [`f32::total_cmp`]), then by unit.
pub(crate) fn falling(ap: f32, unit: UnitId) -> u64 {
    u64::from(!ordered(ap)) << 32 | u64::from(unit.0)
}

/// A number for each unit that sorts by AP rising, then by unit.
pub(crate) fn rising(ap: f32, unit: UnitId) -> u64 {
    u64::from(ordered(ap)) << 32 | u64::from(unit.0)
}

/// A value's place in the order of [`f32::total_cmp`].
fn ordered(value: f32) -> u32 {
    let bits = value.to_bits();
    if value.is_sign_negative() { !bits } else { bits | 1 << 31 }
}

/// The units of the k smallest numbers, in order. It never holds more than 2k + 1,024 numbers.
pub(crate) fn first_k(numbers: impl Iterator<Item = u64>, k: usize) -> Vec<UnitId> {
    let room = 2 * k + 1024;
    let (mut kept, mut worst) = (Vec::new(), u64::MAX);
    for number in numbers.filter(|_| k > 0) {
        if number >= worst {
            continue;
        }
        kept.push(number);
        if kept.len() == room {
            worst = *kept.select_nth_unstable(k - 1).1;
            kept.truncate(k);
        }
    }
    kept.sort_unstable();
    kept.truncate(k);
    kept.into_iter().map(|number| UnitId(number as u32)).collect()
}

/// A number for each unit that a seed shuffles: splitmix64 (Steele, Lea and Flood 2014), a bijection, so no two are equal.
fn draw(seed: u64, unit: UnitId) -> u64 {
    let start = seed.wrapping_mul(0x2545_F491_4F6C_DD1D).wrapping_add(u64::from(unit.0));
    let mut z = start.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Forces `units` to a value; where it is a statistic, to theirs in `column` `[unit]`.
pub fn force(units: Vec<UnitId>, value: ForcingValue, positions: Positions, column: Option<&[f32]>) -> Intervention {
    let (action, number) = match value {
        ForcingValue::Constant(number) => (Action::Set, Some(number)),
        ForcingValue::Scale(factor) => (Action::Scale, Some(factor)),
        ForcingValue::Mean | ForcingValue::P50 | ForcingValue::P90 => (Action::Set, None),
    };
    let value_of = |unit: UnitId| number.or(column.map(|column| column[unit.index()])).unwrap_or(0.0);
    let forced = units.into_iter().map(|unit| ForcedUnit { unit, value: value_of(unit) }).collect();
    Intervention::with(action, positions, forced)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RANDOM: Rank = Rank::Random { seed: None };

    proptest! {
        #[test]
        fn the_first_of_many_are_those_of_a_sort(
            values in prop::collection::vec(any::<u32>().prop_map(f32::from_bits), 0..6_000),
            k in 0usize..900,
        ) {
            let mut all: Vec<u32> = (0..values.len() as u32).collect();
            all.sort_by(|&a, &b| values[b as usize].total_cmp(&values[a as usize]).then(a.cmp(&b)));
            let numbers = values.iter().zip(0..).map(|(&value, unit)| falling(value, UnitId(unit)));
            let first: Vec<u32> = first_k(numbers, k).iter().map(|unit| unit.0).collect();
            prop_assert_eq!(&first[..], &all[..k.min(all.len())]);
            all.sort_by(|&a, &b| values[a as usize].total_cmp(&values[b as usize]).then(a.cmp(&b)));
            let numbers = values.iter().zip(0..).map(|(&value, unit)| rising(value, UnitId(unit)));
            let first: Vec<u32> = first_k(numbers, k).iter().map(|unit| unit.0).collect();
            prop_assert_eq!(&first[..], &all[..k.min(all.len())]);
        }

        #[test]
        fn top_and_bottom_are_a_prefix_of_the_total_order(
            ap in prop::collection::vec((0u8..6).prop_map(|v| f32::from(v) / 5.0), 1..60),
            k in 1u32..60,
        ) {
            let k = k.min(ap.len() as u32);
            let mut all: Vec<u32> = (0..ap.len() as u32).collect();
            all.sort_by(|&a, &b| ap[b as usize].partial_cmp(&ap[a as usize]).unwrap().then(a.cmp(&b)));
            let top: Vec<u32> = ranked(&ap, k, Rank::Top, 0).unwrap().iter().map(|u| u.0).collect();
            prop_assert_eq!(&top[..], &all[..k as usize]);
            if 2 * k as usize <= ap.len() {
                let next: Vec<u32> = ranked(&ap, k, Rank::Next, 0).unwrap().iter().map(|u| u.0).collect();
                prop_assert_eq!(&next[..], &all[k as usize..2 * k as usize]);
            }
            all.sort_by(|&a, &b| ap[a as usize].partial_cmp(&ap[b as usize]).unwrap().then(a.cmp(&b)));
            let bottom: Vec<u32> = ranked(&ap, k, Rank::Bottom, 0).unwrap().iter().map(|u| u.0).collect();
            prop_assert_eq!(&bottom[..], &all[..k as usize]);
        }

        #[test]
        fn random_draws_are_seeded_distinct_and_nested(seed: u64, k in 1u32..99) {
            let ap = vec![0.5; 100];
            let draw = ranked(&ap, k, RANDOM, seed).unwrap();
            prop_assert_eq!(&draw, &ranked(&ap, k, RANDOM, seed).unwrap());
            prop_assert_eq!(&draw[..], &ranked(&ap, k + 1, RANDOM, seed).unwrap()[..k as usize]);
            let own = Rank::Random { seed: Some(seed) };
            prop_assert_eq!(&draw, &ranked(&ap, k, own, !seed).unwrap(), "its own seed goes first");
            let mut distinct = draw;
            distinct.sort();
            distinct.dedup();
            prop_assert_eq!(distinct.len(), k as usize);
        }
    }

    #[test]
    fn a_regression_has_no_more_experts_than_it_chose() {
        let weights = [0.0, 0.5, 0.0, -0.25, 1.5, 0.0];
        let check = |criterion, k, rank| chosen_enough(criterion, &weights, (k, rank));
        assert_eq!(check(Criterion::L1, 2, Rank::Top), Ok(()));
        assert_eq!(check(Criterion::L1, 1, Rank::Bottom), Ok(()));
        assert_eq!(check(Criterion::L1, 1, Rank::Next), Ok(()));
        assert_eq!(check(Criterion::L1, 5, RANDOM), Ok(()));
        assert_eq!(check(Criterion::CohensD, 5, Rank::Top), Ok(()));
        for (k, rank) in [(3, Rank::Top), (2, Rank::Next), (2, Rank::Bottom)] {
            let refused = check(Criterion::L1, k, rank).unwrap_err().to_string();
            assert!(refused.contains("l1 gave only"), "{refused}");
        }
    }

    #[test]
    fn a_k_that_does_not_fit_is_refused() {
        for k in [0, 4] {
            let refused = ranked(&[0.1, 0.2, 0.3], k, Rank::Top, 0).unwrap_err();
            assert_eq!(refused, BadK::OutOfRange { k, units: 3 });
        }
        assert_eq!(ranked(&[0.1, 0.2, 0.3], 2, Rank::Next, 0), Err(BadK::NoNext { k: 2, units: 3 }));
    }
}
