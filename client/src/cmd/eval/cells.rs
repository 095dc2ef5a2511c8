//! Running many measurements: what is in the store is taken from there, the rest is measured a few at a time, and all come in
//! order.

use std::time::Instant;

use futures::StreamExt as _;
use serde::{Serialize, de::DeserializeOwned};

use super::store::Store;
use crate::{
    output::{Cell, Table},
    progress::Steps,
};

/// The values under `keys`, in their order; `measure` is called with the numbers of those that the store lacks, `parallel` of
/// them at once, and what it measures is kept before the next is begun.
pub(super) async fn measured<T: Serialize + DeserializeOwned>(
    store: &mut Store,
    keys: &[String],
    (what, parallel): (&'static str, u32),
    measure: impl AsyncFn(usize) -> anyhow::Result<T>,
) -> anyhow::Result<Vec<T>> {
    let mut values: Vec<Option<T>> = Vec::with_capacity(keys.len());
    for key in keys {
        values.push(store.get(key)?);
    }
    let missing: Vec<usize> = (0..keys.len()).filter(|&number| values[number].is_none()).collect();
    let mut steps = Steps::start(what, keys.len(), keys.len() - missing.len());
    let measure = &measure;
    let runs = futures::stream::iter(missing).map(|number| async move { (number, measure(number).await) });
    let mut runs = std::pin::pin!(runs.buffered(parallel as usize));
    loop {
        let next = tokio::select! {
            next = runs.next() => next,
            signal = tokio::signal::ctrl_c() => {
                signal?;
                anyhow::bail!("interrupted: the same command goes on from here");
            }
        };
        let Some((number, value)) = next else { break };
        let value = value?;
        store.put(&keys[number], &value)?;
        values[number] = Some(value);
        steps.step();
    }
    Ok(values.into_iter().flatten().collect())
}

/// How long many measurements will take, by a part of them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Estimate {
    /// Of what kind they are.
    pub(super) what: String,
    /// All of them.
    pub(super) cells: usize,
    /// What the store had.
    pub(super) known: usize,
    /// The part that was measured, and what it took.
    pub(super) timed: usize,
    pub(super) seconds: f64,
}

impl Estimate {
    /// How long all take from nothing, at the pace of the part; nothing where nothing was left to time.
    pub(super) fn whole(&self) -> Option<f64> {
        (self.timed > 0).then(|| self.seconds / self.timed as f64 * self.cells as f64)
    }

    /// A line for each of them.
    pub(super) fn table(all: &[Self]) -> Table {
        let columns = ["what", "cells", "known", "timed", "seconds", "seconds_for_all", "hours_for_all"];
        let mut table = Table::new("plan", &columns);
        for one in all {
            table.push(vec![
                one.what.clone().into(),
                one.cells.into(),
                one.known.into(),
                one.timed.into(),
                Cell::Rounded(one.seconds),
                one.whole().map_or(Cell::Nothing, Cell::Rounded),
                one.whole().map_or(Cell::Nothing, |seconds| Cell::Rounded(seconds / 3600.0)),
            ]);
        }
        table
    }
}

/// Measures `part` of what the store lacks, evenly spread, as [`measured`] would, and takes the time.
pub(super) async fn estimated<T: Serialize + DeserializeOwned>(
    store: &mut Store,
    keys: &[String],
    (what, parallel, part): (&'static str, u32, u32),
    measure: impl AsyncFn(usize) -> anyhow::Result<T>,
) -> anyhow::Result<Estimate> {
    let mut missing = Vec::new();
    for (number, key) in keys.iter().enumerate() {
        if store.get::<T>(key)?.is_none() {
            missing.push(number);
        }
    }
    let timed = missing.len().min(part as usize);
    let chosen: Vec<usize> = (0..timed).map(|number| missing[number * missing.len() / timed]).collect();
    let some: Vec<String> = chosen.iter().map(|&number| keys[number].clone()).collect();
    let started = Instant::now();
    measured(store, &some, (what, parallel), async |number| measure(chosen[number]).await).await?;
    let (cells, known) = (keys.len(), keys.len() - missing.len());
    Ok(Estimate { what: what.to_owned(), cells, known, timed, seconds: started.elapsed().as_secs_f64() })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[tokio::test]
    async fn only_what_is_missing_is_measured_and_all_is_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.log");
        let keys: Vec<String> = (0..9).map(|number| format!("k{number}")).collect();
        let asked = RefCell::new(Vec::new());
        let measure = async |number: usize| {
            asked.borrow_mut().push(number);
            anyhow::ensure!(number != 5 || asked.borrow().len() > 6, "broken off");
            Ok(number * 10)
        };
        let mut store = Store::open(&path).unwrap();
        let first = measured(&mut store, &keys, ("measuring", 1), measure).await;
        assert_eq!(first.unwrap_err().to_string(), "broken off");
        drop(store);
        let mut store = Store::open(&path).unwrap();
        let second = measured(&mut store, &keys, ("measuring", 3), measure).await.unwrap();
        assert_eq!(second, (0..9).map(|number| number * 10).collect::<Vec<_>>());
        let once: Vec<usize> = (0..5).collect();
        let asked = asked.into_inner();
        assert!(asked.starts_with(&once) && asked[6..].iter().all(|number| *number >= 5), "{asked:?}");
    }

    #[tokio::test]
    async fn a_part_tells_of_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(&folder.path().join("results.log")).unwrap();
        let keys: Vec<String> = (0..100).map(|number| format!("k{number}")).collect();
        store.put(&keys[0], &7usize).unwrap();
        drop(store);
        let mut store = Store::open(&folder.path().join("results.log")).unwrap();
        let asked = RefCell::new(Vec::new());
        let measure = async |number: usize| {
            asked.borrow_mut().push(number);
            Ok(number)
        };
        let found = estimated(&mut store, &keys, ("measuring", 1, 3), measure).await.unwrap();
        assert_eq!((found.cells, found.known, found.timed), (100, 1, 3));
        assert_eq!(*asked.borrow(), [1, 34, 67]);
        let of_ten = Estimate { timed: 10, seconds: 2.0, ..found };
        assert_eq!((of_ten.whole(), Estimate { timed: 0, ..of_ten.clone() }.whole()), (Some(20.0), None));
        drop(store);
        let store = Store::open(&folder.path().join("results.log")).unwrap();
        assert_eq!(store.get::<usize>("k67").unwrap(), Some(67), "what was measured is kept");
    }
}
