//! A bounded memory of what was used last.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
};

/// Keeps values by key up to a total weight; when there is no room, those go that were not used for longest.
#[derive(Debug)]
pub struct Recent<K, V> {
    capacity: usize,
    weight: usize,
    /// With each value its weight, and when it was used last.
    entries: HashMap<K, (V, usize, u64)>,
    /// Keys by when they were used last.
    order: BTreeMap<u64, K>,
    clock: u64,
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    /// Without values; `capacity` is in the unit of their weights.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, weight: 0, entries: HashMap::new(), order: BTreeMap::new(), clock: 0 }
    }

    /// The value under `key`, which counts as used now.
    pub fn get(&mut self, key: &K) -> Option<&V> {
        let (value, _, used) = self.entries.get_mut(key)?;
        if let Some(key) = self.order.remove(used) {
            self.clock += 1;
            *used = self.clock;
            self.order.insert(self.clock, key);
        }
        Some(value)
    }

    /// Keeps `value`, unless it alone weighs more than there is room for.
    pub fn put(&mut self, key: K, value: V, weight: usize) {
        self.remove(&key);
        if weight > self.capacity {
            return;
        }
        while self.weight + weight > self.capacity {
            let Some((_, oldest)) = self.order.first_key_value() else { break };
            let oldest = oldest.clone();
            self.remove(&oldest);
        }
        self.clock += 1;
        self.weight += weight;
        self.order.insert(self.clock, key.clone());
        self.entries.insert(key, (value, weight, self.clock));
    }

    /// Forgets the value under `key`.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let (value, weight, used) = self.entries.remove(key)?;
        self.weight -= weight;
        self.order.remove(&used);
        Some(value)
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_least_recently_used_go_first() {
        let mut recent = Recent::new(10);
        for key in ["a", "b", "c"] {
            recent.put(key, key.to_owned(), 3);
        }
        assert_eq!(recent.get(&"a").map(String::as_str), Some("a"));
        recent.put("d", "d".to_owned(), 4);
        assert_eq!(recent.get(&"b"), None, "it was not used since");
        assert_eq!(recent.len(), 3);
        recent.put("e", "e".to_owned(), 11);
        assert_eq!(recent.get(&"e"), None, "it is too heavy");
        assert_eq!(recent.len(), 3);
        recent.put("a", "other".to_owned(), 1);
        assert_eq!(recent.get(&"a").map(String::as_str), Some("other"));
        assert_eq!(recent.remove(&"a").as_deref(), Some("other"));
        assert_eq!(recent.len(), 2);
    }

    proptest! {
        /// Against a list that is searched from its end.
        #[test]
        fn it_is_a_list_by_use(uses in prop::collection::vec((0u8..12, 0usize..5, any::<bool>()), 0..80)) {
            let mut recent = Recent::new(9);
            let mut list: Vec<(u8, usize)> = Vec::new();
            for (key, weight, put) in uses {
                let place = list.iter().position(|(known, _)| *known == key);
                prop_assert_eq!(recent.get(&key).copied(), place.map(|place| list[place].1));
                if let Some(place) = place {
                    let entry = list.remove(place);
                    list.push(entry);
                }
                if put {
                    recent.put(key, weight, weight);
                    list.retain(|(known, _)| *known != key);
                    while list.iter().map(|(_, weight)| weight).sum::<usize>() + weight > 9 {
                        list.remove(0);
                    }
                    list.push((key, weight));
                }
                prop_assert_eq!(recent.len(), list.len());
            }
        }
    }
}
