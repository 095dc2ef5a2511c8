//! Requests that wait for a worker to generate, and whose turn it is. No network here.
//!
//! Turns are between callers, not between requests: next is the caller with the fewest samples that are being generated, of two
//! with as many the one who had a turn longest ago; a caller's own requests keep their order. So who sends a thousand requests
//! waits for a thousand, and who sends one waits for one.

use std::collections::{BTreeMap, HashMap};

use lode_proto::Caller;

/// A request's number in the queue, by arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// A request that waits; `T` is how it hears that it need not any more.
#[derive(Debug)]
pub(crate) struct Waiting<T> {
    pub(crate) caller: Caller,
    pub(crate) samples: u32,
    pub(crate) teller: T,
}

/// The requests of one model.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    waiting: BTreeMap<Ticket, Waiting<T>>,
    accounts: HashMap<Caller, Account>,
    tickets: u64,
    turns: u64,
}

/// What a caller has.
#[derive(Debug, Default)]
struct Account {
    /// Requests that wait.
    waiting: u32,
    /// Samples that are being generated.
    running: u32,
    /// When it last had a turn; 0 for never.
    last_turn: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), accounts: HashMap::new(), tickets: 0, turns: 0 }
    }
}

impl<T> Queue<T> {
    /// How many had their turn.
    pub(crate) fn turns(&self) -> u64 {
        self.turns
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Samples that those who wait ask for.
    pub(crate) fn samples(&self) -> u64 {
        self.waiting.values().map(|request| u64::from(request.samples)).sum()
    }

    /// A request joins.
    pub(crate) fn join(&mut self, request: Waiting<T>) -> Ticket {
        let ticket = Ticket(self.tickets);
        self.tickets += 1;
        self.accounts.entry(request.caller).or_default().waiting += 1;
        self.waiting.insert(ticket, request);
        ticket
    }

    /// If more than `most` wait, one must go: the latest of the caller who has most of them.
    pub(crate) fn surplus(&mut self, most: usize) -> Option<Waiting<T>> {
        if self.waiting.len() <= most {
            return None;
        }
        let has = |request: &Waiting<T>| self.accounts.get(&request.caller).map_or(0, |account| account.waiting);
        let latest_of_most = self.waiting.iter().max_by_key(|(ticket, request)| (has(request), **ticket));
        let ticket = latest_of_most.map(|(ticket, _)| *ticket)?;
        self.leave(ticket)
    }

    /// A request waits no more.
    pub(crate) fn leave(&mut self, ticket: Ticket) -> Option<Waiting<T>> {
        let request = self.waiting.remove(&ticket)?;
        self.change(request.caller, |account| account.waiting -= 1);
        Some(request)
    }

    /// Whose turn it is.
    pub(crate) fn next(&self) -> Option<(Ticket, &Waiting<T>)> {
        let first = self.waiting.iter().min_by_key(|(ticket, request)| {
            let account = self.accounts.get(&request.caller);
            (account.map_or((0, 0), |account| (account.running, account.last_turn)), **ticket)
        });
        first.map(|(ticket, request)| (*ticket, request))
    }

    /// A request begins to run.
    pub(crate) fn begin(&mut self, ticket: Ticket) -> Option<Waiting<T>> {
        self.turns += 1;
        let turn = self.turns;
        let request = self.waiting.remove(&ticket)?;
        self.change(request.caller, |account| {
            account.waiting -= 1;
            account.running += request.samples;
            account.last_turn = turn;
        });
        Some(request)
    }

    /// A request that ran has ended.
    pub(crate) fn end(&mut self, caller: Caller, samples: u32) {
        self.change(caller, |account| account.running = account.running.saturating_sub(samples));
    }

    /// All that wait, in no order that matters; nobody does afterwards.
    pub(crate) fn drain(&mut self) -> Vec<Waiting<T>> {
        let tickets: Vec<Ticket> = self.waiting.keys().copied().collect();
        tickets.into_iter().filter_map(|ticket| self.leave(ticket)).collect()
    }

    /// Changes an account; who has nothing here is forgotten.
    fn change(&mut self, caller: Caller, change: impl FnOnce(&mut Account)) {
        let account = self.accounts.entry(caller).or_default();
        change(account);
        if account.waiting == 0 && account.running == 0 {
            self.accounts.remove(&caller);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    fn caller(number: u8) -> Caller {
        Caller::Address(IpAddr::from([10, 0, 0, number]))
    }

    fn join(queue: &mut Queue<u32>, number: u8, name: u32) -> Option<u32> {
        let request = Waiting { caller: caller(number), samples: 1, teller: name };
        queue.join(request);
        queue.surplus(4).map(|surplus| surplus.teller)
    }

    fn serve(queue: &mut Queue<u32>) -> u32 {
        let ticket = queue.next().map(|(ticket, _)| ticket).unwrap();
        queue.begin(ticket).unwrap().teller
    }

    #[test]
    fn a_caller_with_many_requests_does_not_keep_others_waiting() {
        let mut queue = Queue::default();
        (0..3).for_each(|name| assert_eq!(join(&mut queue, 1, name), None));
        assert_eq!(join(&mut queue, 2, 10), None);
        assert_eq!((queue.len(), queue.samples()), (4, 4));
        // One place, which is given back before the next turn.
        let order: Vec<u32> = (0..4)
            .map(|_| {
                let name = serve(&mut queue);
                queue.end(caller(if name < 10 { 1 } else { 2 }), 1);
                name
            })
            .collect();
        assert_eq!(order, [0, 10, 1, 2]);
        assert!(queue.accounts.is_empty(), "who has nothing here takes no memory");
    }

    #[test]
    fn places_are_shared_evenly() {
        let mut queue = Queue::default();
        (0..2).for_each(|name| assert_eq!(join(&mut queue, 1, name), None));
        (10..12).for_each(|name| assert_eq!(join(&mut queue, 2, name), None));
        assert_eq!((0..4).map(|_| serve(&mut queue)).collect::<Vec<_>>(), [0, 10, 1, 11]);
        // The first has one of its two left, the second both.
        queue.end(caller(1), 1);
        join(&mut queue, 2, 12);
        join(&mut queue, 1, 2);
        assert_eq!(serve(&mut queue), 2);
    }

    #[test]
    fn when_there_is_no_room_the_one_who_has_most_makes_it() {
        let mut queue = Queue::default();
        (0..4).for_each(|name| assert_eq!(join(&mut queue, 1, name), None));
        assert_eq!(join(&mut queue, 1, 4), Some(4), "its own last one");
        assert_eq!(join(&mut queue, 2, 10), Some(3), "the last of who has most");
        assert_eq!(join(&mut queue, 2, 11), Some(2));
        assert_eq!(join(&mut queue, 2, 12), Some(12), "of two who have as many the latest");
        assert_eq!(queue.drain().len(), 4);
        assert_eq!(queue.len(), 0);
    }

    proptest! {
        /// Whatever happens, accounts say what is there.
        #[test]
        fn the_books_are_right(steps in prop::collection::vec((0u8..4, 0u8..5, 1u32..4), 0..200)) {
            let mut queue = Queue::default();
            let mut running: Vec<(Caller, u32)> = Vec::new();
            for (what, who, samples) in steps {
                match what {
                    0 | 1 => {
                        queue.join(Waiting { caller: caller(who), samples, teller: () });
                        queue.surplus(8);
                    }
                    2 => {
                        if let Some(ticket) = queue.next().map(|(ticket, _)| ticket) {
                            let request = queue.begin(ticket).unwrap();
                            running.push((request.caller, request.samples));
                        }
                    }
                    _ => if let Some((caller, samples)) = running.pop() {
                        queue.end(caller, samples);
                    }
                }
                prop_assert!(queue.len() <= 8);
                for (caller, account) in &queue.accounts {
                    let waiting = queue.waiting.values().filter(|request| request.caller == *caller).count() as u32;
                    let busy: u32 = running.iter().filter(|one| one.0 == *caller).map(|one| one.1).sum();
                    prop_assert_eq!((account.waiting, account.running), (waiting, busy));
                    prop_assert!(waiting + busy > 0);
                }
            }
        }
    }
}
