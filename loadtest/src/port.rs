//! A buyer's way to the target: takes requests, gives their outcomes.

use std::sync::Arc;

use crate::http::{Connection, Dial, Request};
use crate::op::{Answer, Catalogue, Loss, Op, Outcome};
use crate::wire;

/// Most items of one `POST /v1/batch`.
pub const BATCH_ITEMS_MAX: usize = 1_000;

/// One connection to a target.
#[derive(Debug)]
pub(crate) enum Port {
    /// Over HTTP.
    Http(Box<HttpPort>),
    /// To an engine inside this process.
    #[cfg(feature = "inproc")]
    InProc(crate::inproc::InProcPort),
    /// To a shop that is no Onhand.
    #[cfg(all(feature = "peers", target_os = "linux"))]
    Peer(Box<crate::peer::PeerPort>),
}

impl Port {
    /// Sends the requests together and gives an outcome for each, in order. A receipt without its
    /// order is malformed: nobody knows what was bought.
    pub(crate) async fn exchange(&mut self, ops: &[&Op], out: &mut Vec<Outcome>) {
        let before = out.len();
        match self {
            Self::Http(port) => port.exchange(ops, out).await,
            #[cfg(feature = "inproc")]
            Self::InProc(port) => port.exchange(ops, out).await,
            #[cfg(all(feature = "peers", target_os = "linux"))]
            Self::Peer(port) => port.exchange(ops, out).await,
        }
        for (op, outcome) in ops.iter().zip(&mut out[before..]) {
            let is_nameless = |answer: &Answer| answer.is_success() && answer.order.is_none();
            if op.kind.makes_order() && outcome.as_ref().is_ok_and(is_nameless) {
                *outcome = Err(Loss::Malformed);
            }
        }
    }

    /// Makes the next requests travel on a connection of their own each, or no longer.
    pub(crate) fn set_close(&mut self, close: bool) {
        match self {
            Self::Http(port) => port.close = close,
            #[cfg(feature = "inproc")]
            Self::InProc(_) => (),
            #[cfg(all(feature = "peers", target_os = "linux"))]
            Self::Peer(port) => {
                if close {
                    port.renew();
                }
            }
        }
    }

    /// Makes the next requests travel on the connection that is kept, or that several share.
    pub(crate) fn keep(&mut self) {
        match self {
            Self::Http(port) => {
                port.close = false;
                port.connection.keep();
            }
            #[cfg(feature = "inproc")]
            Self::InProc(_) => (),
            #[cfg(all(feature = "peers", target_os = "linux"))]
            Self::Peer(_) => (),
        }
    }

    /// Takes how long connections took to make since the last call.
    pub(crate) fn take_dials(&mut self) -> Vec<Dial> {
        match self {
            Self::Http(port) => port.connection.take_dials(),
            #[cfg(feature = "inproc")]
            Self::InProc(_) => Vec::new(),
            #[cfg(all(feature = "peers", target_os = "linux"))]
            Self::Peer(_) => Vec::new(),
        }
    }

    /// Gives the connection up, so that the next request makes it anew.
    pub(crate) fn renew(&mut self) {
        match self {
            Self::Http(port) => {
                port.close = false;
                port.connection.renew();
            }
            #[cfg(feature = "inproc")]
            Self::InProc(_) => (),
            #[cfg(all(feature = "peers", target_os = "linux"))]
            Self::Peer(port) => port.renew(),
        }
    }

    /// Returns how often the connection was made anew on purpose.
    pub(crate) fn renewals(&self) -> u64 {
        match self {
            Self::Http(port) => port.connection.renewals(),
            #[cfg(feature = "inproc")]
            Self::InProc(_) => 0,
            #[cfg(all(feature = "peers", target_os = "linux"))]
            Self::Peer(port) => port.reconnects().1,
        }
    }

    /// Returns how often the connection was made anew because it had broken.
    pub(crate) fn reconnects(&self) -> u64 {
        match self {
            Self::Http(port) => port.connection.reconnects(),
            #[cfg(feature = "inproc")]
            Self::InProc(_) => 0,
            #[cfg(all(feature = "peers", target_os = "linux"))]
            Self::Peer(port) => port.reconnects().0,
        }
    }
}

/// A connection over HTTP that sends requests one by one or in batches.
#[derive(Debug)]
pub(crate) struct HttpPort {
    connection: Connection,
    catalogue: Arc<Catalogue>,
    /// Items of one batch; 1 sends each request alone.
    batch: usize,
    body: String,
    /// Whether each request asks the host to close the connection after its answer.
    close: bool,
}

impl HttpPort {
    pub(crate) fn new(connection: Connection, catalogue: Arc<Catalogue>, batch: usize) -> Self {
        Self { connection, catalogue, batch, body: String::new(), close: false }
    }

    async fn exchange(&mut self, ops: &[&Op], out: &mut Vec<Outcome>) {
        let batch = self.batch.clamp(1, BATCH_ITEMS_MAX);
        if self.close {
            self.connection.expect_close();
        }
        let count = ops.len().div_ceil(batch);
        for (at, chunk) in ops.chunks(batch).enumerate() {
            self.push(chunk, batch > 1, self.close && at + 1 == count);
        }
        if let Err(loss) = self.connection.flush().await {
            out.extend(ops.iter().map(|_| Err(loss)));
            return;
        }
        let mut lost = None;
        for chunk in ops.chunks(batch) {
            let received = match lost {
                None => self.connection.receive().await,
                Some(_) => Err(Loss::Connection),
            };
            match received {
                Err(loss) => {
                    lost = Some(loss);
                    out.extend(chunk.iter().map(|_| Err(loss)));
                }
                Ok(response) => {
                    let (status, seq) = (response.status, response.seq);
                    let envelope = wire::Envelope { status, seq, replayed: response.replayed };
                    if batch > 1 {
                        wire::read_batch(envelope, response.body, chunk.len(), out);
                    } else {
                        out.push(wire::read_answer(envelope, response.body));
                    }
                }
            }
        }
    }

    /// Pushes one request; the last of those that are to end their connection says so.
    fn push(&mut self, ops: &[&Op], batched: bool, last: bool) {
        let headers = if last { "Connection: close\r\n" } else { "" };
        self.body.clear();
        if batched {
            self.body.push_str("{\"items\":[");
            for (at, op) in ops.iter().enumerate() {
                if at > 0 {
                    self.body.push(',');
                }
                wire::write_item(&mut self.body, op, &self.catalogue);
            }
            self.body.push_str("]}");
            let body = self.body.as_bytes();
            let (path, key) = ("/v1/batch", "");
            self.connection.push(Request { method: "POST", path, key, headers, body });
            return;
        }
        for op in ops {
            wire::write_body(&mut self.body, op, &self.catalogue);
            self.connection.push(Request {
                method: wire::method(op.kind),
                path: &wire::path(op, &self.catalogue),
                key: if op.kind.is_read() { "" } else { &op.key },
                headers,
                body: self.body.as_bytes(),
            });
            self.body.clear();
        }
    }
}
