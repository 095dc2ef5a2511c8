//! The bodies of calls: what comes in has a size and a pace, what goes out ends the call.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tonic::{Status, body::Body};

use super::{guard::Admitted, limits::Permit};
use crate::{
    Fault,
    trace::{self, HEADER, RequestId},
};

/// How long a caller may be silent in the middle of what it sends.
const GAP: Duration = Duration::from_secs(30);

/// Bytes of a small call at most.
const SMALL: usize = 1 << 20;

/// RPCs that send sentences or the values of all units; the largest message of their services is their limit.
const LARGE: [&str; 8] = [
    "/lode.v1.Lode/SubmitJob",
    "/lode.v1.Lode/EstimateJob",
    "/lode.v1.Worker/Mine",
    "/lode.v1.Worker/CountTokens",
    "/lode.v1.Worker/FindHeld",
    "/lode.v1.Worker/Generate",
    "/lode.v1.Lode/Score",
    "/lode.v1.Worker/Score",
];

/// Bytes of the head of a gRPC message: a flag and a length.
const HEAD: usize = 5;

/// What a caller sends.
pub(super) struct Incoming {
    body: Body,
    /// Of a small call: how many bytes may still come.
    left: Option<usize>,
    /// Of a small call: the head of its first message as far as it is here.
    head: Vec<u8>,
    /// Of a large call: on whose account it is, if its caller has one.
    permit: Option<Arc<Permit>>,
    silence: Pin<Box<Sleep>>,
    gap: Duration,
}

impl Incoming {
    pub(super) fn new(path: &str, body: Body, permit: Option<Arc<Permit>>) -> Self {
        Self { permit, ..Self::with_gap(path, body, GAP) }
    }

    fn with_gap(path: &str, body: Body, gap: Duration) -> Self {
        let left = (!LARGE.contains(&path)).then_some(SMALL + HEAD);
        let silence = Box::pin(tokio::time::sleep(gap));
        Self { body, left, head: Vec::new(), permit: None, silence, gap }
    }

    /// Counts what has come, and reads how much the first message says it will be: room is made for it before it comes.
    fn check(&mut self, data: &Bytes) -> Result<(), Status> {
        let Some(left) = self.left else {
            let held = self.permit.as_ref().map_or(Ok(()), |permit| permit.hold(data.len() as u64));
            return held.map_err(|busy| Fault::from(busy).into());
        };
        let missing = HEAD.saturating_sub(self.head.len()).min(data.len());
        self.head.extend_from_slice(&data[..missing]);
        let announced = if missing > 0 && self.head.len() == HEAD { (&self.head[1..]).get_u32() as usize } else { 0 };
        if announced > SMALL || data.len() > left {
            return Err(Status::resource_exhausted(format!(
                "the request is too large: this call takes {SMALL} bytes at most"
            )));
        }
        self.left = Some(left - data.len());
        Ok(())
    }
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
            ready!(self.silence.as_mut().poll(context));
            let silent = Status::deadline_exceeded(format!("nothing of the request came for {:?}", self.gap));
            return Poll::Ready(Some(Err(silent)));
        };
        let deadline = Instant::now() + self.gap;
        self.silence.as_mut().reset(deadline);
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            let data = data.clone();
            if let Err(refusal) = self.check(&data) {
                return Poll::Ready(Some(Err(refusal)));
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What the caller gets; the call runs as long as this is there.
pub(super) struct Outgoing {
    pub(super) body: Body,
    pub(super) request: RequestId,
    pub(super) span: tracing::Span,
    pub(super) _running: Admitted,
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let span = self.span.clone();
        let _entered = span.enter();
        let mut frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            trace::note(trailers);
            trailers.insert(HEADER, self.request.header());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;

    use super::*;

    const SOON: Duration = Duration::from_millis(100);

    /// A body in pieces; it never ends, as that of a caller who has gone silent.
    struct Pieces(Vec<Bytes>);

    impl http_body::Body for Pieces {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            if self.0.is_empty() { Poll::Pending } else { Poll::Ready(Some(Ok(Frame::data(self.0.remove(0))))) }
        }
    }

    async fn read(path: &str, pieces: &[&[u8]]) -> (usize, Status) {
        let pieces = pieces.iter().map(|piece| Bytes::copy_from_slice(piece)).collect();
        let mut body = Incoming::with_gap(path, Body::new(Pieces(pieces)), SOON);
        let mut read = 0;
        loop {
            let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
            match frame.unwrap() {
                Ok(frame) => read += frame.data_ref().unwrap().len(),
                Err(status) => return (read, status),
            }
        }
    }

    #[tokio::test]
    async fn a_small_call_is_small() {
        const STATUS: &str = "/lode.v1.Lode/GetStatus";
        let announced = [0, 0, 0x20, 0, 0];
        for pieces in [&[&announced[..]][..], &[&announced[..2], &announced[2..]]] {
            let (_, status) = read(STATUS, pieces).await;
            assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status:?}");
        }
        let mebibyte = vec![0; SMALL];
        let (read_bytes, status) = read(STATUS, &[&[0; 5], &mebibyte, &[0]]).await;
        assert_eq!((read_bytes, status.code()), (SMALL + 5, tonic::Code::ResourceExhausted));
        let (read_bytes, status) = read(LARGE[0], &[&announced, &mebibyte, &mebibyte]).await;
        assert_eq!((read_bytes, status.code()), (2 * SMALL + 5, tonic::Code::DeadlineExceeded));
    }

    #[tokio::test]
    async fn large_calls_are_on_their_callers_account() {
        use super::super::limits::{CallLimits, Caller, Charged, Limits};
        let limits = Arc::new(Limits::new(Charged::Everyone(CallLimits { bytes: 100, ..CallLimits::default() })));
        let permit = || Arc::new(limits.admit(Caller::at([10, 0, 0, 1].into())).unwrap_or_else(|_| panic!()));
        let ask = async |path: &str, permit: &Arc<Permit>| {
            let body = Body::new(Pieces(vec![Bytes::from_static(&[0; 60])]));
            let mut body = Incoming::new(path, body, Some(permit.clone()));
            std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await.unwrap().map(drop)
        };
        let (first, second) = (permit(), permit());
        assert!(ask("/lode.v1.Lode/Score", &first).await.is_ok());
        assert!(ask("/lode.v1.Lode/TopUnits", &second).await.is_ok(), "small ones are not counted");
        let refused = ask("/lode.v1.Lode/SubmitJob", &second).await.unwrap_err();
        assert!(
            refused.code() == tonic::Code::ResourceExhausted && refused.message().contains("too large"),
            "{refused}"
        );
        drop(first);
        assert!(ask("/lode.v1.Lode/SubmitJob", &second).await.is_ok());
    }

    #[tokio::test]
    async fn who_goes_silent_is_not_waited_for() {
        let before = Instant::now();
        let (read, status) = read("/lode.v1.Lode/TopUnits", &[&[0, 0, 0, 0, 9, 1]]).await;
        assert_eq!((read, status.code()), (6, tonic::Code::DeadlineExceeded));
        assert!(before.elapsed() >= SOON);
    }
}
