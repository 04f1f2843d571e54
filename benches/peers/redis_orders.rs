//! Sends the orders of the benches to a Redis server: the same keys, customers and duplicates as
//! Onhand gets, pipelined over some connections.
//!
//! `redis-orders PORT SCRIPT ORDERS CONNECTIONS DEPTH FIRST` loads the Lua script, then each
//! connection has DEPTH orders in flight; the result is one JSON document on standard output.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::Instant;

use onhand_benches::BenchError;
use onhand_benches::summary::{latencies, percentiles};
use onhand_benches::workload::{LIMIT, Mix, Orders, Plan, STOCK, sku_ids};
use serde_json::json;

/// Threads that drive connections.
const THREADS: usize = 2;

struct Work {
    port: u16,
    script: String,
    orders: u64,
    connections: usize,
    depth: usize,
    first: u64,
}

struct Connection {
    write: TcpStream,
    read: BufReader<TcpStream>,
    line: String,
}

impl Connection {
    fn open(port: u16) -> Result<Self, BenchError> {
        let write = TcpStream::connect(("127.0.0.1", port))?;
        write.set_nodelay(true)?;
        let read = BufReader::with_capacity(1 << 16, write.try_clone()?);
        Ok(Self { write, read, line: String::new() })
    }

    /// Reads one line of an answer, without its kind and line end.
    fn answer(&mut self) -> Result<&str, BenchError> {
        self.line.clear();
        self.read.read_line(&mut self.line)?;
        match self.line.trim_end().split_at_checked(1) {
            Some((":" | "$" | "+", rest)) => Ok(rest),
            _ => Err(format!("Redis answered {:?}", self.line).into()),
        }
    }
}

fn put(request: &mut Vec<u8>, parts: &[&str]) {
    request.extend_from_slice(format!("*{}\r\n", parts.len()).as_bytes());
    for part in parts {
        request.extend_from_slice(format!("${}\r\n{part}\r\n", part.len()).as_bytes());
    }
}

fn main() -> ExitCode {
    match read_arguments().and_then(|work| run(&work)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("redis-orders: {error}");
            eprintln!("usage: redis-orders PORT SCRIPT ORDERS CONNECTIONS DEPTH FIRST");
            ExitCode::FAILURE
        }
    }
}

fn read_arguments() -> Result<Work, BenchError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, script, orders, connections, depth, first] = arguments.as_slice() else {
        return Err("six arguments are needed".into());
    };
    Ok(Work {
        port: port.parse()?,
        script: std::fs::read_to_string(script)?,
        orders: orders.parse()?,
        connections: connections.parse::<usize>()?.max(THREADS),
        depth: depth.parse::<usize>()?.max(1),
        first: first.parse()?,
    })
}

/// Loads the script and stocks the SKU; returns the script's hash.
fn prepare(work: &Work) -> Result<String, BenchError> {
    let mut connection = Connection::open(work.port)?;
    let mut request = Vec::new();
    put(&mut request, &["SET", "stock:1", &STOCK.to_string()]);
    put(&mut request, &["SCRIPT", "LOAD", &work.script]);
    connection.write.write_all(&request)?;
    connection.answer()?;
    connection.answer()?;
    connection.line.clear();
    connection.read.read_line(&mut connection.line)?;
    Ok(connection.line.trim_end().to_owned())
}

fn run(work: &Work) -> Result<(), BenchError> {
    let hash = prepare(work)?;
    let skus = sku_ids(1)?;
    let orders = Orders::new(Plan::new(Mix::Hot, 1), &skus, 0)?;
    let start = Instant::now();
    let parts = std::thread::scope(|scope| {
        let drive = |thread: usize| {
            let (orders, hash) = (&orders, hash.as_str());
            scope.spawn(move || drive(work, orders, hash, thread as u64))
        };
        let threads: Vec<_> = (0..THREADS).map(drive).collect();
        let joined = threads.into_iter().map(|t| t.join().map_err(|_| "a thread panicked")?);
        joined.collect::<Result<Vec<_>, BenchError>>()
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let mut outcomes = [0_u64; 4];
    let mut latency = latencies();
    for (counts, histogram) in &parts {
        outcomes.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        latency.add(histogram)?;
    }
    let [sold_out, accepted, repeated, limited] = outcomes;
    let result = json!({
        "orders_per_s": accepted as f64 / seconds,
        "accepted": accepted,
        "repeated": repeated,
        "refused": sold_out + limited,
        "seconds": seconds,
        "latency": percentiles(&latency),
    });
    println!("{result}");
    Ok(())
}

type Part = ([u64; 4], hdrhistogram::Histogram<u64>);

fn drive(work: &Work, orders: &Orders, hash: &str, thread: u64) -> Result<Part, BenchError> {
    let count = work.connections / THREADS;
    let open = (0..count).map(|_| Connection::open(work.port));
    let mut connections = open.collect::<Result<Vec<_>, _>>()?;
    let mut at = work.first + (thread << 40);
    let mut left = work.orders / THREADS as u64;
    let mut outcomes = [0_u64; 4];
    let mut latency = latencies();
    let mut request = Vec::new();
    let limit = LIMIT.to_string();
    // Each connection in turn: read the answers to its last burst, send the next one.
    let mut bursts = vec![(Instant::now(), 0_u64); count];
    while left > 0 || bursts.iter().any(|(_, size)| *size > 0) {
        for (connection, burst) in connections.iter_mut().zip(&mut bursts) {
            for _ in 0..burst.1 {
                let outcome: usize = connection.answer()?.parse()?;
                *outcomes.get_mut(outcome).ok_or("an outcome that is not known")? += 1;
            }
            latency.saturating_record_n(burst.0.elapsed().as_nanos() as u64, burst.1);
            let size = left.min(work.depth as u64);
            request.clear();
            for at in at..at + size {
                let number = orders.number(at);
                let (high, low) = orders.key(number);
                let order = format!("o:{high:016x}{low:016x}");
                let customer = orders.customer(number).to_string();
                let keys = ["EVALSHA", hash, "3", "stock:1", "limit:1", &order];
                put(&mut request, &[&keys[..], &[&customer, &limit, "1"]].concat());
            }
            *burst = (Instant::now(), size);
            if size > 0 {
                connection.write.write_all(&request)?;
            }
            at += size;
            left -= size;
        }
    }
    Ok((outcomes, latency))
}
