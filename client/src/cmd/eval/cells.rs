//! Running many measurements: what is in the store is taken from there, the rest is measured a few at a time, and all come in
//! order.

use futures::StreamExt as _;
use serde::{Serialize, de::DeserializeOwned};

use super::store::Store;
use crate::progress::Steps;

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
}
