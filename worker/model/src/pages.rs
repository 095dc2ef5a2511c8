//! Which pages of the cache are whose: pure bookkeeping, no tensors.

use std::collections::{BTreeMap, HashMap};

/// Positions of a page.
pub(crate) const PAGE: usize = 32;

/// A page of the cache.
pub(crate) type Page = u32;

/// The name of what a full page holds: it follows from the tokens of this page and all before it, and from what was forced there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PageName(pub [u8; 16]);

/// Pages of one cache: free, held by sequences, or idle: held by none, but named, and so of use to whoever begins alike.
#[derive(Debug)]
pub(crate) struct Pages {
    capacity: usize,
    /// By page: how many hold it. It grows as pages are used for the first time.
    holders: Vec<u32>,
    /// By page: its name.
    names: Vec<Option<PageName>>,
    named: HashMap<PageName, Page>,
    free: Vec<Page>,
    /// Idle pages by when they were let go.
    idle: BTreeMap<u64, Page>,
    /// By page: its place in `idle`.
    since: Vec<u64>,
    clock: u64,
}

impl Pages {
    /// With room for `capacity` pages.
    pub fn new(capacity: usize) -> Self {
        let (holders, names, since) = (Vec::new(), Vec::new(), Vec::new());
        let (free, idle, named) = (Vec::new(), BTreeMap::new(), HashMap::new());
        Self { capacity, holders, names, named, free, idle, since, clock: 0 }
    }

    /// Pages that there are.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Pages that somebody holds.
    pub fn held(&self) -> usize {
        self.holders.len() - self.free.len() - self.idle.len()
    }

    /// Takes `count` pages, of which the first are those that hold what `names` says, as far as they are there; gives the pages and
    /// how many were. `None` if there is no room.
    pub fn take(&mut self, names: &[PageName], count: usize) -> Option<(Vec<Page>, usize)> {
        let shared: Vec<Page> = names.iter().take(count).map_while(|name| self.named.get(name).copied()).collect();
        self.share(&shared, count).map(|pages| (pages, shared.len()))
    }

    /// Takes `count` pages, of which the first are `shared`. `None` if there is no room.
    pub fn share(&mut self, shared: &[Page], count: usize) -> Option<Vec<Page>> {
        let idle_shared = shared.iter().filter(|&&page| self.holders[page as usize] == 0).count();
        let room = self.capacity - self.held() - idle_shared;
        if count - shared.len() > room {
            return None;
        }
        for &page in shared {
            self.hold(page);
        }
        let mut pages = shared.to_vec();
        for _ in shared.len()..count {
            let page = self.fresh()?;
            self.hold(page);
            pages.push(page);
        }
        Some(pages)
    }

    /// Lets go of pages; those with names stay as long as nobody needs the room.
    pub fn release(&mut self, pages: &[Page]) {
        // The end goes first when room is needed: a beginning is of use to more.
        for &page in pages.iter().rev() {
            let place = page as usize;
            self.holders[place] -= 1;
            if self.holders[place] > 0 {
                continue;
            }
            if self.names[place].is_some() {
                self.clock += 1;
                self.since[place] = self.clock;
                self.idle.insert(self.clock, page);
            } else {
                self.free.push(page);
            }
        }
    }

    /// Says what a full page holds. Where another one is known to hold the same, that one stays the known one.
    pub fn name(&mut self, page: Page, name: PageName) {
        if let std::collections::hash_map::Entry::Vacant(vacant) = self.named.entry(name) {
            vacant.insert(page);
            self.names[page as usize] = Some(name);
        }
    }

    fn hold(&mut self, page: Page) {
        let place = page as usize;
        if self.holders[place] == 0 {
            self.idle.remove(&self.since[place]);
        }
        self.holders[place] += 1;
    }

    /// A page that nobody holds: one that was used and is free, one that was never used, or the idle one that was let go first.
    fn fresh(&mut self) -> Option<Page> {
        if let Some(page) = self.free.pop() {
            return Some(page);
        }
        if self.holders.len() < self.capacity {
            self.holders.push(0);
            self.names.push(None);
            self.since.push(0);
            return Some((self.holders.len() - 1) as Page);
        }
        let (_, page) = self.idle.pop_first()?;
        if let Some(name) = self.names[page as usize].take() {
            self.named.remove(&name);
        }
        Some(page)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(number: u8) -> PageName {
        PageName([number; 16])
    }

    #[test]
    fn who_begins_alike_shares() {
        let mut pages = Pages::new(6);
        let (first, shared) = pages.take(&[name(1), name(2)], 4).unwrap();
        assert_eq!((first.len(), shared), (4, 0));
        pages.name(first[0], name(1));
        pages.name(first[1], name(2));
        let (second, shared) = pages.take(&[name(1), name(3)], 3).unwrap();
        assert_eq!((second[0], shared), (first[0], 1));
        assert_eq!(pages.held(), 6);
        assert_eq!(pages.take(&[], 1), None, "there is no room");
        pages.release(&first);
        assert_eq!(pages.held(), 3);
        let (third, shared) = pages.take(&[name(1), name(2)], 4).unwrap();
        assert_eq!((&third[..2], shared), (&first[..2], 2), "nobody held the second, but it was still there");
        pages.release(&third);
        pages.release(&second);
        let (all, shared) = pages.take(&[], 6).unwrap();
        assert_eq!((all.len(), shared), (6, 0));
        pages.release(&all);
        assert_eq!(pages.take(&[name(1)], 1).unwrap().1, 0, "its room was needed");
    }

    proptest! {
        /// Whatever is taken and released: no page has two owners unless it is shared, and none is lost.
        #[test]
        fn pages_are_neither_lost_nor_given_twice(steps in prop::collection::vec((0u8..6, 1usize..6, any::<bool>()), 0..60)) {
            let mut pages = Pages::new(10);
            let mut held: Vec<Vec<Page>> = Vec::new();
            for (number, count, release) in steps {
                if release && !held.is_empty() {
                    pages.release(&held.remove(number as usize % held.len()));
                } else if let Some((taken, shared)) = pages.take(&[name(number)], count) {
                    prop_assert_eq!(taken.len(), count);
                    let used: Vec<Page> = held.concat();
                    prop_assert!(taken[shared..].iter().all(|page| !used.contains(page)));
                    if shared == 0 {
                        pages.name(taken[0], name(number));
                    }
                    held.push(taken);
                } else {
                    let mut used = held.concat();
                    used.sort_unstable();
                    used.dedup();
                    prop_assert!(used.len() + count > 9, "at most one page could have been shared");
                }
                let mut used = held.concat();
                used.sort_unstable();
                used.dedup();
                prop_assert_eq!(pages.held(), used.len());
            }
        }
    }
}
