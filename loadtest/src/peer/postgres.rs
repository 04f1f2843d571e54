//! The shop in `PostgreSQL`: its server, its protocol as far as the shop needs it, and its tables.
//!
//! Source: `PostgreSQL` 15 documentation, chapter 55, "Frontend/Backend Protocol", version 3.0.

use std::path::Path;
use std::process::Command;

use super::socket::Socket;
use super::{Answered, ShopEvent};
use crate::error::LoadError;
use crate::feed::StockLevel;
use crate::op::{Catalogue, Loss, Op, OpKind};

/// The whole shop.
pub(super) const SCHEMA: &str = include_str!("shop.sql");
/// Name of the user and owner.
pub(super) const USER: &str = "onhand";
/// Statements that are prepared once on each connection.
const STATEMENTS: [(&str, &str); 4] = [
    ("take", "SELECT * FROM take($1, $2, $3::bigint, $4::text[], $5::bigint[], $6::boolean)"),
    ("change", "SELECT * FROM change($1, $2::bigint, $3, $4)"),
    ("browse", "SELECT available FROM skus WHERE code = $1"),
    ("poll", "SELECT state FROM orders WHERE id = $1::bigint"),
];

/// Returns the command of a server that listens in the directory of its socket alone.
pub(super) fn server(program: &Path, data: &Path, sockets: &Path, connections: usize) -> Command {
    let mut command = Command::new(program);
    command.arg("-D").arg(data);
    for setting in [
        format!("unix_socket_directories={}", sockets.display()),
        format!("max_connections={}", connections + 10),
        "listen_addresses=".to_owned(),
        // A commit is on disk before it is answered.
        "fsync=on".to_owned(),
        "synchronous_commit=on".to_owned(),
        "full_page_writes=on".to_owned(),
        "shared_buffers=256MB".to_owned(),
        // No checkpoint forced by size within a run.
        "max_wal_size=4GB".to_owned(),
    ] {
        command.arg("-c").arg(setting);
    }
    command
}

/// A refusal of the server itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused(pub(super) String);

type Rows = Result<Vec<Vec<Option<String>>>, Refused>;

/// A connection to the shop.
#[derive(Debug)]
pub(super) struct Postgres {
    pub(super) socket: Socket,
    output: Vec<u8>,
}

/// Appends a message: its type, its length, its body.
fn message(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    let at = out.len();
    out.extend([0; 4]);
    body(out);
    let length = u32::try_from(out.len() - at).unwrap_or(u32::MAX);
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend(text.as_bytes());
    out.push(0);
}

/// Reads the fields of a row; the body of a `DataRow`.
fn row(mut body: &[u8]) -> Option<Vec<Option<String>>> {
    let mut take = |count: usize| -> Option<&[u8]> {
        let (head, rest) = body.split_at_checked(count)?;
        body = rest;
        Some(head)
    };
    let count = u16::from_be_bytes(take(2)?.try_into().ok()?);
    let mut fields = Vec::with_capacity(count.into());
    for _ in 0..count {
        let length = i32::from_be_bytes(take(4)?.try_into().ok()?);
        fields.push(match usize::try_from(length) {
            Ok(length) => Some(String::from_utf8(take(length)?.to_vec()).ok()?),
            Err(_) => None,
        });
    }
    Some(fields)
}

/// Reads the text of an error: its fields `C` (code) and `M` (message).
fn refused(body: &[u8]) -> Refused {
    let field = |kind: u8| {
        let fields = body.split(|byte| *byte == 0);
        let found = fields.filter_map(|field| field.split_first()).find(|(k, _)| **k == kind);
        found.map_or(String::new(), |(_, text)| String::from_utf8_lossy(text).into_owned())
    };
    Refused(format!("{} {}", field(b'C'), field(b'M')))
}

/// Writes a list as an array of the server; its members are codes or numbers.
fn array<T: std::fmt::Display>(members: impl Iterator<Item = T>) -> String {
    let members: Vec<String> = members.map(|member| format!("\"{member}\"")).collect();
    format!("{{{}}}", members.join(","))
}

impl Postgres {
    pub(super) fn new(socket: Socket) -> Self {
        Self { socket, output: Vec::new() }
    }

    fn push_prepare(&mut self, name: &str, sql: &str) {
        message(&mut self.output, b'P', |out| {
            text(out, name);
            text(out, sql);
            out.extend([0; 2]);
        });
        message(&mut self.output, b'S', |_| ());
    }

    fn push_execute(&mut self, name: &str, values: &[&str]) {
        message(&mut self.output, b'B', |out| {
            text(out, "");
            text(out, name);
            out.extend([0; 2]);
            out.extend((values.len() as u16).to_be_bytes());
            for value in values {
                out.extend((value.len() as u32).to_be_bytes());
                out.extend(value.as_bytes());
            }
            out.extend([0; 2]);
        });
        message(&mut self.output, b'E', |out| {
            text(out, "");
            out.extend([0; 4]);
        });
        message(&mut self.output, b'S', |_| ());
    }

    async fn flush(&mut self) -> Result<(), Loss> {
        let sent = self.socket.send(&self.output).await;
        self.output.clear();
        sent
    }

    /// Reads messages until the server is ready for the next query.
    async fn receive(&mut self) -> Result<Rows, Loss> {
        let (mut rows, mut error) = (Vec::new(), None);
        loop {
            let rest = self.socket.rest();
            let length = rest.get(1..5).and_then(|bytes| bytes.try_into().ok());
            let length = length.map(|bytes| u32::from_be_bytes(bytes) as usize);
            let whole = length.and_then(|length| rest.get(5..1 + length.max(4)));
            let Some(body) = whole else {
                self.socket.fill().await?;
                continue;
            };
            match rest[0] {
                b'D' => rows.push(row(body).ok_or(Loss::Malformed)?),
                b'E' => error = error.or(Some(refused(body))),
                // Anything but "no password needed" can't be answered.
                b'R' if body != [0; 4] => return Err(Loss::Malformed),
                _ => (),
            }
            let (over, taken) = (rest[0] == b'Z', 5 + body.len());
            self.socket.consume(taken);
            if over {
                return Ok(error.map_or(Ok(rows), Err));
            }
        }
    }

    async fn ready(&mut self) -> Result<(), Loss> {
        self.output.clear();
        if !self.login().await? {
            return Ok(());
        }
        for (name, sql) in STATEMENTS {
            self.push_prepare(name, sql);
        }
        self.flush().await?;
        for _ in STATEMENTS {
            self.receive().await?.map_err(|_| Loss::Malformed)?;
        }
        Ok(())
    }

    /// Connects if it is not, without preparing anything; returns whether it had to.
    async fn login(&mut self) -> Result<bool, Loss> {
        if !self.socket.connect().await? {
            return Ok(false);
        }
        // The first message has no type.
        message(&mut self.output, 0, |out| {
            out.extend(196_608_u32.to_be_bytes());
            for word in ["user", USER, "database", "postgres", ""] {
                text(out, word);
            }
        });
        self.output.remove(0);
        self.flush().await?;
        let begun = self.receive().await?;
        if begun.is_err() {
            // Such as one that still starts.
            self.socket.disconnect();
            return Err(Loss::Unreachable);
        }
        Ok(true)
    }

    /// Carries statements out that are written out in full.
    pub(super) async fn query(&mut self, sql: &str) -> Result<Rows, Loss> {
        self.output.clear();
        self.login().await?;
        message(&mut self.output, b'Q', |out| text(out, sql));
        self.flush().await?;
        self.receive().await
    }

    /// Sends requests together and reads their answers.
    pub(super) async fn exchange(
        &mut self,
        ops: &[&Op],
        catalogue: &Catalogue,
        out: &mut Vec<Answered>,
    ) -> Result<(), Loss> {
        self.ready().await?;
        for op in ops {
            let (order, ttl) = (op.order.to_string(), op.ttl_ms.to_string());
            let codes = || op.lines.iter().map(|line| catalogue.sku(line.sku).code.as_str());
            let change = |from: &'static str, to: &'static str| [op.key.as_str(), &order, from, to];
            match op.kind {
                OpKind::Browse => {
                    let code = codes().next().unwrap_or_default();
                    self.push_execute("browse", &[code]);
                }
                OpKind::Poll | OpKind::Quote => self.push_execute("poll", &[&order]),
                OpKind::Place => self.push_execute("change", &change("reserved", "placed")),
                OpKind::Release => self.push_execute("change", &change("reserved", "released")),
                OpKind::Cancel => self.push_execute("change", &change("placed", "cancelled")),
                OpKind::Buy | OpKind::Reserve => {
                    let units = array(op.lines.iter().map(|line| line.quantity));
                    let buys = if op.kind == OpKind::Buy { "true" } else { "false" };
                    let codes = array(codes());
                    let values = [&op.key, &op.customer, &ttl, &codes, &units, buys];
                    self.push_execute("take", &values);
                }
            }
        }
        self.flush().await?;
        for op in ops {
            let rows = self.receive().await?;
            out.push(match rows {
                // The transaction was given up, so nothing has changed.
                Err(_) => Answered { code: Answered::FAILED, ..Answered::default() },
                Ok(rows) if op.kind.is_read() => {
                    Answered { code: if rows.is_empty() { 3 } else { 0 }, ..Answered::default() }
                }
                Ok(rows) => answered(&rows).ok_or(Loss::Malformed)?,
            });
        }
        Ok(())
    }

    async fn number(&mut self, sql: &str) -> Result<Option<i64>, Loss> {
        let rows = self.query(sql).await?.map_err(|_| Loss::Malformed)?;
        Ok(rows.first().and_then(|row| row.first()?.as_ref()?.parse().ok()))
    }

    /// Ends reservations that are due; returns how many.
    pub(super) async fn expire(&mut self) -> Result<i64, Loss> {
        self.number("SELECT expire()").await?.ok_or(Loss::Malformed)
    }

    pub(super) async fn knows(&mut self, code: &str) -> Result<bool, Loss> {
        let sql = format!("SELECT 1 FROM skus WHERE code = '{code}'");
        Ok(self.number(&sql).await?.is_some())
    }

    pub(super) async fn define(&mut self, code: &str, price: i64, most: u32) -> Result<i64, Loss> {
        let sql = format!(
            "INSERT INTO skus (code, price, most, seq) VALUES ('{code}', {price}, {most}, \
             nextval('positions')) RETURNING seq"
        );
        self.number(&sql).await?.ok_or(Loss::Malformed)
    }

    pub(super) async fn receive_units(&mut self, code: &str, units: u32) -> Result<i64, Loss> {
        let sql = format!("SELECT receive('{code}', {units})");
        self.number(&sql).await?.ok_or(Loss::Malformed)
    }

    /// Reads events after a position, in order.
    pub(super) async fn events(&mut self, after: u64) -> Result<Vec<ShopEvent>, LoadError> {
        let sql = format!(
            "SELECT seq, concat_ws(' ', kind, made, order_id, deadline, total, (SELECT \
             string_agg(s.code || ' ' || l.units, ' ' ORDER BY l.n) FROM unnest(e.skus, e.units) \
             WITH ORDINALITY AS l (sku, units, n) JOIN skus s ON s.id = l.sku)) FROM events e \
             WHERE seq > {after} ORDER BY seq LIMIT 1000"
        );
        let rows = self.query(&sql).await.map_err(super::lost)?;
        let rows = rows.map_err(|Refused(text)| LoadError::target(format!("postgres: {text}")))?;
        let event = |row: &Vec<Option<String>>| {
            let [Some(seq), Some(words)] = row.as_slice() else { return None };
            ShopEvent::of_words(seq.parse().ok()?, words)
        };
        let events: Option<Vec<ShopEvent>> = rows.iter().map(event).collect();
        events.ok_or_else(|| super::lost(Loss::Malformed))
    }

    pub(super) async fn stock(&mut self, code: &str) -> Result<StockLevel, Loss> {
        let sql =
            format!("SELECT available, reserved, committed, seq FROM skus WHERE code = '{code}'");
        let rows = self.query(&sql).await?.map_err(|_| Loss::Malformed)?;
        let numbers: Option<Vec<u64>> = rows
            .first()
            .and_then(|row| row.iter().map(|field| field.as_ref()?.parse().ok()).collect());
        let [available, reserved, committed, seq] = numbers.unwrap_or_default()[..] else {
            return Err(Loss::Malformed);
        };
        Ok(StockLevel { available, reserved, committed, seq, ..StockLevel::default() })
    }
}

fn answered(rows: &[Vec<Option<String>>]) -> Option<Answered> {
    let numbers = rows.first()?.iter().map(|field| field.as_ref()?.parse().ok());
    Answered::of(&numbers.collect::<Option<Vec<i64>>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows and errors are read as the protocol writes them; what is cut off is refused.
    #[test]
    fn rows_and_errors_are_read() {
        let body = b"\0\x02\0\0\0\x02ab\xff\xff\xff\xff";
        assert_eq!(row(body), Some(vec![Some("ab".to_owned()), None]));
        for end in 0..body.len() {
            assert_eq!(row(&body[..end]), None, "{end}");
        }
        let error = b"SERROR\0C40P01\0Mdeadlock detected\0\0";
        assert_eq!(refused(error), Refused("40P01 deadlock detected".to_owned()));
    }

    /// A message bears its own length, and lists are written as arrays.
    #[test]
    fn messages_and_arrays_are_written() {
        let mut out = Vec::new();
        message(&mut out, b'Q', |out| text(out, "SELECT 1"));
        assert_eq!(out, b"Q\0\0\0\x0dSELECT 1\0");
        assert_eq!(array(["a", "b"].iter()), "{\"a\",\"b\"}");
    }
}
