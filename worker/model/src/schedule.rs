//! What a step runs: a row of every sequence that generates, and a bounded number of rows of prompts beside them.

/// Rows of a prompt's turn.
pub(crate) const TURN: usize = 32;
/// Rows of prompts in a step in which nobody generates.
const ALONE: usize = 512;

/// What is known of a sequence that could run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    /// Its place among the running ones.
    pub place: usize,
    /// Tokens that have not run; at least one.
    pub tokens: usize,
    /// Turns that it has had; who comes later begins with as many as had who had fewest, so that nobody is overtaken for ever.
    pub turns: u32,
}

/// Rows that each sequence may run, `(place, rows)`, by place.
///
/// Whoever has one token left runs it: such sequences generate, and never wait for prompts. Prompts take turns of 32 rows, those first
/// that had fewest, until `beside` rows are given out, or 512 if nobody generates; so short prompts are through soon, and long ones
/// go on.
pub(crate) fn schedule(pending: &[Pending], beside: usize) -> Vec<(usize, usize)> {
    let (generating, mut prompts): (Vec<Pending>, Vec<Pending>) = pending.iter().partition(|one| one.tokens == 1);
    let mut given: Vec<(usize, usize)> = generating.iter().map(|one| (one.place, 1)).collect();
    let mut left = if generating.is_empty() { ALONE.max(beside) } else { beside };
    let mut rows = vec![0; prompts.len()];
    while left > 0 {
        let unfinished = (0..prompts.len()).filter(|&number| rows[number] < prompts[number].tokens);
        let Some(number) = unfinished.min_by_key(|&number| (prompts[number].turns, number)) else { break };
        let turn = TURN.min(left).min(prompts[number].tokens - rows[number]);
        rows[number] += turn;
        left -= turn;
        prompts[number].turns += 1;
    }
    let prompts = prompts.iter().zip(rows).filter(|(_, rows)| *rows > 0);
    given.extend(prompts.map(|(one, rows)| (one.place, rows)));
    given.sort_unstable();
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(tokens: &[(usize, u32)]) -> Vec<Pending> {
        tokens.iter().enumerate().map(|(place, &(tokens, turns))| Pending { place, tokens, turns }).collect()
    }

    #[test]
    fn who_generates_always_runs_and_prompts_share_what_is_left() {
        assert_eq!(schedule(&pending(&[(1, 9), (1000, 0), (1, 3), (20, 0)]), 64), [(0, 1), (1, 44), (2, 1), (3, 20)]);
        assert_eq!(
            schedule(&pending(&[(1000, 5), (40, 0), (1, 0)]), 32),
            [(1, 32), (2, 1)],
            "who had fewer turns is first"
        );
        assert_eq!(schedule(&pending(&[(1000, 0), (100, 0)]), 64), [(0, 412), (1, 100)]);
        assert_eq!(schedule(&pending(&[(1000, 0)]), 64), [(0, 512)]);
        assert_eq!(schedule(&[], 64), []);
    }

    #[test]
    fn a_long_prompt_is_through_although_short_ones_keep_coming() {
        let (mut left, mut turns) = (320, 0);
        for step in 0..100 {
            let newcomer = (20, turns);
            let given = schedule(&pending(&[(1, 0), (left, turns), newcomer, newcomer, newcomer, newcomer]), 64);
            let rows = given.iter().find(|(place, _)| *place == 1).map_or(0, |(_, rows)| *rows);
            left -= rows;
            turns += rows.div_ceil(TURN) as u32;
            if left <= 1 {
                return assert!((5..20).contains(&step), "{step}");
            }
        }
        panic!("{left} rows are left");
    }
}
