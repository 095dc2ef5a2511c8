//! Names of what the pages of a sequence hold.

use crate::{
    force::Conditions,
    pages::{PAGE, PageName},
};

/// The beginning of every chain of names.
pub(crate) const START: PageName = PageName([0; 16]);

/// The name of page number `page` of a sequence of `tokens` whose first `prompt_len` are its prompt: BLAKE3 of the page's tokens, of
/// what is forced at each, and of the name of the page `before`, for keys and values follow from all that came before.
///
/// `tokens` has all of the page's.
pub(crate) fn name_page(
    before: PageName,
    page: usize,
    tokens: &[u32],
    (conditions, prompt_len): (&Conditions, usize),
) -> PageName {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&before.0);
    for (position, token) in tokens.iter().enumerate().skip(page * PAGE).take(PAGE) {
        hasher.update(&token.to_le_bytes());
        conditions.mark(position, prompt_len, &mut hasher);
    }
    let mut name = [0; 16];
    name.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    PageName(name)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lode_domain::{
        intervention::{ForcedUnit, Intervention, Positions},
        unit::{Layer, LayerName, UnitId, UnitSpace},
    };

    use super::*;

    #[test]
    fn names_follow_from_tokens_and_what_is_forced() {
        let layer = Layer { name: LayerName::new("h.0.mlp"), units: 4 };
        let space = Arc::new(UnitSpace::new(vec![layer]).unwrap());
        let conditions = |interventions: &[Intervention]| Conditions::of(&space, interventions).unwrap();
        let force = |positions, value| Intervention::new(positions, vec![ForcedUnit { unit: UnitId(1), value }]);
        let tokens: Vec<u32> = (0..80).collect();
        let name = |tokens: &[u32], interventions: &[Intervention], prompt_len| {
            let conditions = conditions(interventions);
            let first = name_page(START, 0, tokens, (&conditions, prompt_len));
            name_page(first, 1, tokens, (&conditions, prompt_len))
        };
        let plain = name(&tokens, &[], 80);
        assert_eq!(plain, name(&tokens[..70], &[], 70), "what comes after does not matter");
        assert_eq!(plain, name(&tokens, &[force(Positions::Generated, 1.0)], 64), "nothing is forced there");
        let mut other = tokens.clone();
        other[3] = 9;
        let all = [force(Positions::All, 1.0)];
        let window = |to| [force(Positions::Window { from: 0, to }, 1.0)];
        let others = [
            name(&other, &[], 80),
            name(&tokens, &all, 80),
            name(&tokens, &[force(Positions::All, 2.0)], 80),
            name(&tokens, &[all[0].clone(), force(Positions::All, 2.0)], 80),
            name(&tokens, &window(40), 80),
            name(&tokens, &[force(Positions::Generated, 1.0)], 63),
        ];
        for (number, one) in others.iter().enumerate() {
            assert!(*one != plain && !others[..number].contains(one), "{number}");
        }
        assert_eq!(name(&tokens, &all, 80), name(&tokens, &window(64), 80), "the same is forced up to there");
        assert_eq!(name(&tokens, &all, 80), name(&tokens, &all, 50));
    }
}
