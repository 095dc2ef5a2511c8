//! Room for connections: who sits, who sits idle, and who has to go.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::LineLimits;

/// How often connections that have been idle for too long are looked for.
const ROUND: Duration = Duration::from_secs(1);

/// The connections of a server.
pub(super) struct Seats {
    pub(super) limits: LineLimits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    taken: BTreeMap<u64, Sitting>,
}

/// One connection.
struct Sitting {
    address: IpAddr,
    since: Instant,
    /// Calls that run, of those who may call. Calls that are open to everybody keep no seat: some never end.
    calls: u32,
    /// Whether anything has come over it.
    spoke: Arc<AtomicBool>,
    /// When the last call of somebody who may call came or went.
    used: Option<Instant>,
    close: CancellationToken,
}

/// A connection's seat; free again when dropped.
pub(super) struct Seat {
    number: u64,
    pub(super) peer: SocketAddr,
    /// Cancelled when the connection has to close.
    pub(super) close: CancellationToken,
    spoke: Arc<AtomicBool>,
    seats: Arc<Seats>,
}

/// A call that runs over a connection, until it is dropped.
pub(super) struct Call {
    seat: Arc<Seat>,
    is_known: bool,
}

impl Seats {
    pub(super) fn new(limits: LineLimits) -> Self {
        Self { limits, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn taken(&self) -> usize {
        self.state().taken.len()
    }

    /// A seat for a newcomer, for which somebody idle may have to go; there is none while over all of them somebody calls who may.
    pub(super) fn take(self: &Arc<Self>, peer: SocketAddr) -> Option<Seat> {
        let mut state = self.state();
        while state.taken.len() >= self.limits.connections {
            let number = state.most_idle()?;
            state.dismiss(number);
        }
        let (number, close, spoke) = (state.next, CancellationToken::new(), Arc::<AtomicBool>::default());
        state.next += 1;
        let (since, address) = (Instant::now(), peer.ip());
        let sitting = Sitting { address, since, calls: 0, spoke: spoke.clone(), used: None, close: close.clone() };
        state.taken.insert(number, sitting);
        Some(Seat { number, peer, close, spoke, seats: self.clone() })
    }

    /// Dismisses, round after round, whoever does not call.
    pub(super) async fn watch(&self) {
        let mut rounds = tokio::time::interval(ROUND.min(self.limits.first_call / 2));
        loop {
            rounds.tick().await;
            let (mut state, now) = (self.state(), Instant::now());
            let is_late = |sitting: &Sitting| {
                let (start, patience) = match sitting.used {
                    Some(used) => (used, self.limits.idle),
                    None => (sitting.since, self.limits.first_call),
                };
                sitting.calls == 0 && now.duration_since(start) > patience
            };
            let late: Vec<u64> = state.taken.iter().filter(|(_, s)| is_late(s)).map(|(&number, _)| number).collect();
            if !late.is_empty() {
                tracing::debug!(connections = late.len(), "closing connections over which nobody calls");
            }
            late.into_iter().for_each(|number| state.dismiss(number));
        }
    }
}

impl State {
    /// Who makes room: those who never said anything before those who never called, and both before those who did; of
    /// equals one from the address that has most of them, and there the one that has been quiet for longest.
    fn most_idle(&self) -> Option<u64> {
        let merit = |sitting: &Sitting| (sitting.used.is_some(), sitting.spoke.load(Ordering::Relaxed));
        let idle = || self.taken.iter().filter(|(_, sitting)| sitting.calls == 0);
        let least = idle().map(|(_, sitting)| merit(sitting)).min()?;
        let equals = || idle().filter(|(_, sitting)| merit(sitting) == least);
        let mut crowds: HashMap<IpAddr, usize> = HashMap::new();
        equals().for_each(|(_, sitting)| *crowds.entry(sitting.address).or_default() += 1);
        let quiet_since =
            |sitting: &Sitting| (Reverse(crowds[&sitting.address]), sitting.used.unwrap_or(sitting.since));
        equals().min_by_key(|(_, sitting)| quiet_since(sitting)).map(|(&number, _)| number)
    }

    fn dismiss(&mut self, number: u64) {
        if let Some(sitting) = self.taken.remove(&number) {
            sitting.close.cancel();
        }
    }
}

impl Seat {
    /// Something has come over the connection.
    pub(super) fn speak(&self) {
        self.spoke.store(true, Ordering::Relaxed);
    }

    /// A call begins. Only one by somebody `known` keeps the connection, and earns it patience when it has ended.
    pub(super) fn call(self: &Arc<Self>, known: bool) -> Call {
        if let Some(sitting) = self.seats.state().taken.get_mut(&self.number).filter(|_| known) {
            sitting.calls += 1;
            sitting.used = Some(Instant::now());
        }
        Call { seat: self.clone(), is_known: known }
    }

    pub(super) fn address(&self) -> IpAddr {
        self.peer.ip()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut state = self.seat.seats.state();
        if let Some(sitting) = state.taken.get_mut(&self.seat.number).filter(|_| self.is_known) {
            sitting.calls -= 1;
            sitting.used = Some(Instant::now());
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.state().taken.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

    fn seats(connections: usize) -> Arc<Seats> {
        let limits = LineLimits {
            connections,
            streams: 1,
            first_call: Duration::from_millis(400),
            idle: Duration::from_millis(1600),
        };
        Arc::new(Seats::new(limits))
    }

    fn is_closed(seat: &Seat) -> bool {
        seat.close.is_cancelled()
    }

    #[tokio::test]
    async fn the_longest_silent_make_room_and_those_who_call_stay() {
        let seats = seats(3);
        let take = || Arc::new(seats.take(PEER).unwrap());
        let (busy, used, silent) = (take(), take(), take());
        let running = busy.call(true);
        drop(used.call(true));
        let first = take();
        assert!(is_closed(&silent) && !is_closed(&busy) && !is_closed(&used));
        let second = take();
        assert!(is_closed(&first) && !is_closed(&used));
        let calls = [second.call(true), used.call(true)];
        assert!(seats.take(PEER).is_none(), "all are busy");
        assert_eq!(seats.taken(), 3);
        drop(running);
        let _third = take();
        assert!(is_closed(&busy));
        drop(calls);
    }

    #[tokio::test]
    async fn who_calls_without_a_right_keeps_nobody_out() {
        let seats = seats(3);
        let take = || Arc::new(seats.take(PEER).unwrap());
        let (watching, used, busy) = (take(), take(), take());
        watching.speak();
        let _endless = watching.call(false);
        drop(used.call(true));
        let _running = busy.call(true);
        let _newcomer = take();
        assert!(is_closed(&watching) && !is_closed(&used) && !is_closed(&busy));
    }

    #[test]
    fn who_crowds_the_room_makes_room() {
        let seats = seats(4);
        let take = |host: u8| Arc::new(seats.take(SocketAddr::from(([10, 0, 0, host], 1))).unwrap());
        let (honest, first, second, third) = (take(1), take(2), take(2), take(2));
        let fourth = take(2);
        assert!(is_closed(&first) && !is_closed(&honest), "the oldest of the most, not the oldest of all");
        // A hello is worth more than nothing, a call more than a hello.
        second.speak();
        let _fifth = take(3);
        assert!(is_closed(&third) && !is_closed(&second));
        for seat in [&honest, &second, &fourth] {
            seat.speak();
        }
        drop(fourth.call(true));
        let _sixth = take(3);
        let _seventh = take(3);
        assert!(!is_closed(&fourth) && !is_closed(&honest) && !is_closed(&second));
    }

    #[tokio::test]
    async fn who_does_not_call_is_closed_in_time() {
        let seats = seats(8);
        let watched = seats.clone();
        let watch = tokio::spawn(async move { watched.watch().await });
        let take = || Arc::new(seats.take(PEER).unwrap());
        let (silent, unknown, used, busy) = (take(), take(), take(), take());
        let _endless = unknown.call(false);
        drop(used.call(true));
        let running = busy.call(true);
        let wait = async |millis| tokio::time::sleep(Duration::from_millis(millis)).await;
        wait(100).await;
        assert!(!is_closed(&silent));
        wait(900).await;
        assert!(is_closed(&silent) && is_closed(&unknown) && !is_closed(&used) && !is_closed(&busy));
        wait(2000).await;
        assert!(is_closed(&used) && !is_closed(&busy));
        drop(running);
        wait(2000).await;
        assert!(is_closed(&busy));
        watch.abort();
    }
}
