//! A unit's sentences in order of falling response.
//!
//! Responses are first cut into equal steps between the largest and the smallest, fine enough that few share a step, and
//! sorted by step in two passes of a radix sort. What is out of order then is out of order within a step, and an insertion sort
//! settles it in one pass. Where the responses are so uneven that it would take long, a comparison sort does it: so the order
//! is exact whatever the responses are, and costs n log n at most.

/// See the module; keeps its buffers from unit to unit.
pub(super) struct Falling {
    /// `[sentence]`
    steps: Vec<u32>,
    /// Step and sentence, in order of the step's low digit.
    by_low_digit: Vec<u64>,
    /// Sentences, largest response first; of equal ones in any order.
    pub(super) order: Vec<u32>,
    /// The distinct responses, in falling order: the thresholds. Only the first so many are in use.
    values: Vec<f32>,
    /// For each threshold, how many sentences stand before the next one; empty where no two responses are equal.
    pub(super) ends: Vec<u32>,
    distinct: usize,
}

/// Sentences up to which eight bits a digit keep steps fine enough; more take eleven.
const FEW: usize = 4096;
/// Places that sentences may be moved by insertion, for each sentence, before a comparison sort takes over.
const MOVES: usize = 4;
/// Responses that are compared side by side.
const WIDTH: usize = 8;

impl Falling {
    pub(super) fn new(sentences: usize) -> Self {
        Self {
            steps: vec![0; sentences],
            by_low_digit: vec![0; sentences],
            order: vec![0; sentences],
            values: vec![0.0; sentences],
            ends: Vec::with_capacity(sentences),
            distinct: 0,
        }
    }

    /// The thresholds, in falling order; never -0.0.
    pub(super) fn values(&self) -> &[f32] {
        &self.values[..self.distinct]
    }

    /// Brings `[sentence]` responses into order; false if one is not finite.
    #[inline(always)]
    pub(super) fn arrange(&mut self, responses: &[f32]) -> bool {
        let Some((least, most)) = range(responses) else { return false };
        if responses.len() <= FEW {
            self.sort_steps::<{ 1 << 8 }>(responses, least, most);
        } else {
            self.sort_steps::<{ 1 << 11 }>(responses, least, most);
        }
        self.settle(responses);
        self.ends.clear();
        if self.distinct < responses.len() {
            self.tie();
        }
        true
    }

    /// Sorts by step, `DIGITS`² of them.
    #[inline(always)]
    fn sort_steps<const DIGITS: usize>(&mut self, responses: &[f32], least: f32, most: f32) {
        // Adding it to a number below 2^32 rounds that to an integer, which then stands in the low bits.
        const ROUND: f64 = (1u64 << 52) as f64;
        let (least, most) = (f64::from(least), f64::from(most));
        let last = (DIGITS * DIGITS - 1) as f64;
        // Every operation here is monotone, so a smaller response is never on an earlier step.
        let fineness = if most > least { last / (most - least) } else { 0.0 };
        for (step, &response) in self.steps.iter_mut().zip(responses) {
            *step = ((most - f64::from(response)) * fineness + ROUND).to_bits() as u32;
        }
        let (mut low, mut high) = ([0u32; DIGITS], [0u32; DIGITS]);
        for &step in &self.steps {
            low[step as usize % DIGITS] += 1;
            high[step as usize / DIGITS % DIGITS] += 1;
        }
        starts(&mut low);
        starts(&mut high);
        for (sentence, &step) in (0u64..).zip(&self.steps) {
            let place = &mut low[step as usize % DIGITS];
            self.by_low_digit[*place as usize] = u64::from(step / DIGITS as u32) << 32 | sentence;
            *place += 1;
        }
        for &entry in &self.by_low_digit {
            let place = &mut high[(entry >> 32) as usize % DIGITS];
            self.order[*place as usize] = entry as u32;
            *place += 1;
        }
    }

    /// From nearly sorted to sorted, and the responses beside it; counts the distinct ones.
    #[inline(always)]
    fn settle(&mut self, responses: &[f32]) {
        let (order, values) = (&mut self.order[..], &mut self.values[..]);
        let mut moves = MOVES * order.len();
        let mut smallest = f32::INFINITY;
        self.distinct = 0;
        for place in 0..order.len() {
            let sentence = order[place];
            // Adding 0.0 makes 0.0 of -0.0.
            let response = responses[sentence as usize] + 0.0;
            self.distinct += usize::from(response != smallest);
            values[place] = response;
            if response <= smallest {
                smallest = response;
                continue;
            }
            let mut free = place;
            while free > 0 && values[free - 1] < response {
                (values[free], order[free]) = (values[free - 1], order[free - 1]);
                free -= 1;
            }
            (values[free], order[free]) = (response, sentence);
            self.distinct -= usize::from(free > 0 && values[free - 1] == response);
            match moves.checked_sub(place - free) {
                Some(left) => moves = left,
                None => return self.sort(responses),
            }
        }
    }

    /// A comparison sort, for responses that the steps do not part.
    #[inline(never)]
    fn sort(&mut self, responses: &[f32]) {
        let entries = &mut self.by_low_digit;
        entries.clear();
        entries
            .extend(responses.iter().zip(0u64..).map(|(&response, sentence)| falling_key(response) << 32 | sentence));
        entries.sort_unstable();
        for ((place, value), &entry) in self.order.iter_mut().zip(&mut self.values).zip(&*entries) {
            *place = entry as u32;
            *value = responses[entry as u32 as usize] + 0.0;
        }
        self.distinct = self.values.chunk_by(|one, next| one == next).count();
    }

    /// Makes one threshold of equal responses.
    #[inline(always)]
    fn tie(&mut self) {
        self.ends.resize(self.distinct, 0);
        let (values, ends) = (&mut self.values[..], &mut self.ends[..]);
        let (mut threshold, mut last) = (0, values[0]);
        for place in 0..values.len() {
            let value = values[place];
            threshold += usize::from(value != last);
            last = value;
            values[threshold] = value;
            ends[threshold] = place as u32 + 1;
        }
    }
}

/// The smallest and the largest response; none if one is not finite.
#[inline(always)]
fn range(responses: &[f32]) -> Option<(f32, f32)> {
    let (mut least, mut most, mut finite) = ([f32::INFINITY; WIDTH], [f32::NEG_INFINITY; WIDTH], [true; WIDTH]);
    let (whole, rest) = responses.as_chunks::<WIDTH>();
    for few in whole {
        for lane in 0..WIDTH {
            least[lane] = if few[lane] < least[lane] { few[lane] } else { least[lane] };
            most[lane] = if few[lane] > most[lane] { few[lane] } else { most[lane] };
            finite[lane] &= few[lane].abs() < f32::INFINITY;
        }
    }
    let is_finite = finite.iter().all(|&finite| finite) && rest.iter().all(|response| response.is_finite());
    let least = least.iter().chain(rest).copied().fold(f32::INFINITY, f32::min);
    let most = most.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max);
    is_finite.then_some((least, most))
}

/// From how many there are of each to where each begins.
#[inline(always)]
fn starts<const DIGITS: usize>(counts: &mut [u32; DIGITS]) {
    let mut start = 0;
    for count in counts {
        start += std::mem::replace(count, start);
    }
}

/// An integer that orders as the responses do, largest response first; -0.0 and 0.0 are equal.
fn falling_key(response: f32) -> u64 {
    let bits = (response + 0.0).to_bits();
    let rising = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    u64::from(!rising)
}
