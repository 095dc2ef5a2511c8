//! Expertise that looks like mined expertise: skewed, correlated within groups of concepts, with units that never respond.

use lode_domain::{
    concept::ConceptId,
    expertise::{ExpertiseBlock, Recipe, UnitExpertise},
    id::ModelHash,
    record::ConceptKey,
};

/// Concepts that share experts.
const GROUPS: u32 = 32;

pub const MODEL: ModelHash = ModelHash([1; 32]);

pub fn key(concept: u32) -> ConceptKey {
    let id = ConceptId::new(format!("group-{:02}", concept % GROUPS), format!("concept-{concept:04}"));
    ConceptKey { model: MODEL, concept: id.expect("the name is legal"), recipe: Recipe::default() }
}

/// Units `start..end` of a concept.
///
/// AP is p + (1 - p) t / (1 + t) with t log-normal: p is the concept's share of positives, where units that know nothing
/// lie. The normal deviate is a sum of what all concepts, the concept's group and the concept alone have in the unit, so concepts
/// of a group correlate by about 0.5, others by 0.1. One unit in 256 never responds: its AP is p, tied.
pub fn block(concept: u32, start: u32, end: u32) -> ExpertiseBlock {
    let own = mixed(u64::from(concept) << 32);
    let group = mixed(u64::from(concept % GROUPS) << 48);
    let share = 0.15 + 0.35 * uniform(own);
    let mut block = ExpertiseBlock::with_capacity(start, (end - start) as usize);
    for unit in start..end {
        let shared = mixed(u64::from(unit));
        let alone = mixed(shared ^ own);
        let z = 0.32 * normal(shared) + 0.63 * normal(mixed(shared ^ group)) + 0.71 * normal(alone);
        let t = (z - 2.5).exp();
        let ap = if shared.is_multiple_of(256) { share } else { share + (1.0 - share) * t / (1.0 + t) };
        let (mean, spread) = (4.0 * normal(shared.rotate_left(17)), 0.5 + uniform(shared.rotate_left(29)));
        let on_mean = mean + 2.0 * spread * (ap - share);
        let on_p50 = on_mean - 0.1 * spread * uniform(alone);
        let on_p90 = on_mean + spread * (1.0 + uniform(alone.rotate_left(23)));
        block.push(UnitExpertise { ap, on_mean, on_p50, on_p90, off_mean: mean });
    }
    block
}

/// splitmix64's finaliser.
fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// In [0, 1), from the upper bits.
fn uniform(bits: u64) -> f32 {
    (bits >> 40) as f32 / (1 << 24) as f32
}

/// About standard normal: four uniforms of 16 bits.
fn normal(bits: u64) -> f32 {
    let sum: u64 = (0..4).map(|part| (bits >> (16 * part)) & 0xFFFF).sum();
    (sum as f32 / 65_536.0 - 2.0) * 1.732
}
