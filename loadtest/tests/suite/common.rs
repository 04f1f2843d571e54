//! A tiny host written from the HTTP contract, which can be told to lie in many ways.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// What the host does wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Nothing.
    #[default]
    None,
    /// Sells what it does not have.
    Oversell,
    /// Says "sold out" to some buyers while units are there.
    FalseSoldOut,
    /// Acknowledges some orders without making them.
    LoseOrder,
    /// Makes an order that nobody asked for.
    GhostOrder,
    /// Makes some orders twice.
    DoubleOrder,
    /// Answers a repeated request with other bytes.
    OtherBytes,
    /// Forgets the customers' limits.
    IgnoreLimit,
    /// Gives one unit less than asked and than acknowledged.
    ShortOrder,
    /// Shows one unit too many in stock.
    WrongStock,
    /// Places reservations that were released.
    PlaceReleased,
    /// Answers some requests with garbage after it carried them out.
    Garbage,
    /// Closes the connection instead of answering some requests that it carried out.
    HangUp,
}

#[derive(Default)]
struct Sku {
    limit: Option<u64>,
    price: i64,
    committed: i64,
    reserved: i64,
}

struct Order {
    customer: String,
    lines: Vec<(String, u64, u64)>,
    reserved: bool,
    cancelled: bool,
    /// In milliseconds since 1970.
    deadline: u64,
    version: u64,
}

#[derive(Default)]
struct Shop {
    lie: Lie,
    skus: BTreeMap<String, Sku>,
    cells: BTreeMap<(String, u64), i64>,
    orders: HashMap<String, Order>,
    answers: HashMap<String, (u16, String)>,
    held: HashMap<(String, String), u64>,
    events: Vec<Value>,
    /// Writes by path, key and body.
    writes: BTreeSet<(String, String, Vec<u8>)>,
    asked: u64,
    batches: u64,
    connections: u64,
    /// Time of the request that is carried out, in milliseconds since 1970.
    now: u64,
    /// Where changes are written before they are answered, for a host that is killed.
    journal: Option<File>,
}

/// A known capacity: a fixed number of requests is served at once, each for a fixed time.
///
/// Places in time are given out by arithmetic, so a thread that wakes late takes nothing away from
/// the capacity.
pub(crate) struct Gate {
    started: Instant,
    time: Duration,
    /// When each server is free again, from the start.
    free: Mutex<Vec<Duration>>,
}

impl Gate {
    pub(crate) fn new(servers: usize, time: Duration) -> Self {
        let free = Mutex::new(vec![Duration::ZERO; servers]);
        Self { started: Instant::now(), time, free }
    }

    /// Waits until a server has served the caller.
    fn pass(&self) {
        let now = self.started.elapsed();
        let done = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            let next = free.iter_mut().min().expect("there is a server");
            *next = (*next).max(now) + self.time;
            *next
        };
        std::thread::sleep(done.saturating_sub(now));
    }
}

/// A running host; it stops when dropped.
pub(crate) struct Host {
    pub(crate) addr: SocketAddr,
    shop: Arc<Mutex<Shop>>,
    stop: Arc<AtomicBool>,
}

impl Host {
    pub(crate) fn start(lie: Lie) -> Self {
        Self::start_with(lie, None)
    }

    /// Starts a host that serves purchases through a gate.
    pub(crate) fn start_with(lie: Lie, gate: Option<Gate>) -> Self {
        let gate = gate.map(Arc::new);
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let shop = Arc::new(Mutex::new(Shop { lie, ..Shop::default() }));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopping) = (Arc::clone(&shop), Arc::clone(&stop));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopping.load(Ordering::Relaxed) {
                    return;
                }
                let (shop, gate) = (Arc::clone(&shared), gate.clone());
                shop.lock().unwrap_or_else(PoisonError::into_inner).connections += 1;
                std::thread::spawn(move || {
                    stream.map(|stream| serve(stream, &shop, gate.as_deref()))
                });
            }
        });
        Self { addr, shop, stop }
    }

    /// Serves an address until the process ends; changes survive in a directory, unless they are
    /// forgotten.
    pub(crate) fn serve(addr: &str, data: &Path, forgets: bool) {
        let mut shop = Shop::default();
        std::fs::create_dir_all(data).expect("the directory can be made");
        if !forgets {
            shop.recover(&data.join("journal"));
        }
        let shop = Arc::new(Mutex::new(shop));
        let listener = TcpListener::bind(addr).expect("the address is free");
        for stream in listener.incoming() {
            let shop = Arc::clone(&shop);
            std::thread::spawn(move || stream.map(|stream| serve(stream, &shop, None)));
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Returns how many connections were made.
    pub(crate) fn connections(&self) -> u64 {
        self.shop.lock().unwrap_or_else(PoisonError::into_inner).connections
    }

    /// Returns the writes that need a key: path, key and body, each once.
    pub(crate) fn asked(&self) -> BTreeSet<(String, String, Vec<u8>)> {
        self.shop.lock().unwrap_or_else(PoisonError::into_inner).writes.clone()
    }

    /// Returns how many batches were received.
    pub(crate) fn batches(&self) -> u64 {
        self.shop.lock().unwrap_or_else(PoisonError::into_inner).batches
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.addr);
    }
}

struct Request {
    method: String,
    path: String,
    key: String,
    /// Whether the connection is closed after the answer.
    close: bool,
    body: Vec<u8>,
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut key, mut length, mut close) = (String::new(), 0, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "idempotency-key" => value.clone_into(&mut key),
            "content-length" => length = value.parse().ok()?,
            "connection" => close = value == "close",
            _ => (),
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, path, key, close, body })
}

fn serve(stream: TcpStream, shop: &Mutex<Shop>, gate: Option<&Gate>) {
    let _ = stream.set_nodelay(true);
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader) {
        if let Some(gate) = gate.filter(|_| request.path == "/v1/orders:buy") {
            gate.pass();
        }
        let (status, replayed, body, wrong) = {
            let mut shop = shop.lock().unwrap_or_else(PoisonError::into_inner);
            shop.asked += 1;
            if !request.key.is_empty() {
                let (path, key) = (request.path.clone(), request.key.clone());
                shop.writes.insert((path, key, request.body.clone()));
            }
            let now = now_ms();
            shop.write_down(now, &request);
            let (status, replayed, body) = shop.route(now, &request);
            let orders = request.path.starts_with("/v1/orders") && shop.asked.is_multiple_of(97);
            (status, replayed, body, orders.then_some(shop.lie))
        };
        let mut text = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
        if replayed {
            text.push_str("Idempotency-Replayed: true\r\n");
        }
        if request.close {
            text.push_str("Connection: close\r\n");
        }
        text.push_str("\r\n");
        text.push_str(&body);
        match wrong {
            Some(Lie::Garbage) => "HTTP/1.1 what?\r\n\r\n".clone_into(&mut text),
            Some(Lie::HangUp) => return,
            _ => (),
        }
        if reader.get_mut().write_all(text.as_bytes()).is_err() || request.close {
            return;
        }
    }
}

fn order_of(key: &str) -> String {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, key).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    onhand_loadtest::op::order_to_text((half(1) << 64) | half(2))
}

fn problem(status: u16, code: &str, seq: u64) -> (u16, bool, String) {
    (status, false, json!({"status": status, "code": code, "seq": seq}).to_string())
}

impl Shop {
    fn seq(&self) -> u64 {
        self.events.len() as u64
    }

    fn emit(&mut self, mut event: Value) -> u64 {
        let seq = self.seq() + 1;
        event["seq"] = seq.into();
        event["time"] = time_text(self.now).into();
        self.events.push(event);
        seq
    }

    /// Moves units between buckets of one SKU and returns the movement.
    fn shift(&mut self, line: &(String, u64, u64), at: usize, from: &str, to: &str) -> Value {
        let (code, location, quantity) = line;
        let units = *quantity as i64;
        for (bucket, change) in [(from, -units), (to, units)] {
            let sku = self.skus.entry(code.clone()).or_default();
            match bucket {
                "available" => {
                    *self.cells.entry((code.clone(), *location)).or_default() += change;
                }
                "reserved" => sku.reserved += change,
                "committed" => sku.committed += change,
                _ => (),
            }
        }
        json!({"sku": code, "location": location, "lot": 0, "quantity": quantity,
               "from": from, "to": to, "line": at})
    }

    fn shift_all(&mut self, lines: &[(String, u64, u64)], from: &str, to: &str) -> Vec<Value> {
        lines.iter().enumerate().map(|(at, line)| self.shift(line, at, from, to)).collect()
    }

    fn expire(&mut self) {
        let now = self.now;
        let mut due: Vec<_> =
            self.orders.iter().filter(|(_, o)| o.reserved && o.deadline <= now).collect();
        due.sort_by_key(|(_, order)| order.deadline);
        let due: Vec<_> = due.into_iter().map(|(id, o)| (id.clone(), o.deadline)).collect();
        for (id, deadline) in due {
            self.give_back(&id, "order.expired");
            // It ended at its deadline, whenever somebody asks.
            if let Some(event) = self.events.last_mut() {
                event["time"] = time_text(deadline).into();
            }
        }
    }

    fn give_back(&mut self, id: &str, kind: &str) -> u64 {
        let order = self.orders.get_mut(id).expect("the caller knows the order");
        order.reserved = false;
        order.version += 1;
        let (lines, customer, version) =
            (order.lines.clone(), order.customer.clone(), order.version);
        for (sku, _, quantity) in &lines {
            *self.held.entry((customer.clone(), sku.clone())).or_default() -= quantity;
        }
        let movements = self.shift_all(&lines, "reserved", "available");
        self.emit(json!({"type": kind, "aggregate": id, "version": version,
                         "movements": movements}))
    }

    /// Writes a change to the journal, if there is one.
    fn write_down(&mut self, now: u64, request: &Request) {
        let Some(journal) = self.journal.as_mut().filter(|_| request.method != "GET") else {
            return;
        };
        let Request { method, path, key, body, .. } = request;
        let body = String::from_utf8_lossy(body);
        let line = json!({"now": now, "method": method, "path": path, "key": key, "body": body});
        writeln!(journal, "{line}").expect("the journal can be written");
    }

    /// Carries out what a journal holds, and writes to it from now on.
    fn recover(&mut self, path: &Path) {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        for line in text.lines() {
            // The last line may be cut off; its request was not answered then.
            let Ok(line) = serde_json::from_str::<Value>(line) else { break };
            let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            let (method, path, key) = (text("method"), text("path"), text("key"));
            let body = text("body").into_bytes();
            let request = Request { method, path, key, close: false, body };
            self.route(line["now"].as_u64().unwrap_or(0), &request);
        }
        let opened = OpenOptions::new().create(true).append(true).open(path);
        self.journal = Some(opened.expect("the journal can be made"));
    }

    fn route(&mut self, now: u64, request: &Request) -> (u16, bool, String) {
        self.now = now;
        self.expire();
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        match (request.method.as_str(), path) {
            ("PUT", path) if path.starts_with("/v1/skus/") => {
                let code = path["/v1/skus/".len()..].to_owned();
                let limit = body["limit"].as_u64();
                let sku = self.skus.entry(code.clone()).or_default();
                (sku.limit, sku.price) = (limit, body["price"]["amount"].as_i64().unwrap_or(0));
                let seq = self.emit(json!({"type": "sku.defined", "movements": [],
                                           "aggregate": format!("sku:{code}"), "version": 1}));
                (200, false, json!({"sku": code, "version": 1, "seq": seq}).to_string())
            }
            ("GET", path) if path.starts_with("/v1/skus/") => {
                if self.skus.contains_key(&path["/v1/skus/".len()..]) {
                    (200, false, "{}".to_owned())
                } else {
                    problem(404, "not_found", self.seq())
                }
            }
            ("GET", "/v1/stock") => self.stock(query),
            ("GET", path) if path.starts_with("/v1/stock/") => {
                let (status, _, body) = self.stock(&format!("sku={}", &path["/v1/stock/".len()..]));
                let rows: Value = serde_json::from_str(&body).unwrap_or(Value::Null);
                (status, false, rows["data"][0].to_string())
            }
            ("GET", path) if path.starts_with("/v1/orders/") => {
                let order = &path["/v1/orders/".len()..];
                if self.orders.contains_key(order) {
                    (200, false, json!({"order": order, "seq": self.seq()}).to_string())
                } else {
                    problem(404, "not_found", self.seq())
                }
            }
            ("GET", "/v1/events") => self.page(query),
            ("POST", "/v1/batch") => {
                self.batches += 1;
                let items = body["items"].as_array().cloned().unwrap_or_default();
                let items: Vec<Value> = items.iter().map(|item| self.item(item)).collect();
                (200, false, json!({"items": items, "seq": self.seq()}).to_string())
            }
            ("POST", path) => self.once(path, &request.key, &body),
            _ => problem(404, "not_found", self.seq()),
        }
    }

    fn item(&mut self, item: &Value) -> Value {
        let key = item["key"].as_str().unwrap_or_default().to_owned();
        let path = match item["op"].as_str() {
            Some("buy") => "/v1/orders:buy".to_owned(),
            Some("reserve") => "/v1/reservations".to_owned(),
            Some("place") => "/v1/orders".to_owned(),
            Some("release") => {
                format!("/v1/reservations/{}/release", item["body"]["order"].as_str().unwrap_or(""))
            }
            _ => "/unknown".to_owned(),
        };
        let (status, _, body) = self.once(&path, &key, &item["body"]);
        let body = serde_json::value::RawValue::from_string(body).expect("own JSON");
        json!({"status": status, "body": serde_json::to_value(body).expect("own JSON")})
    }

    /// Carries a POST out once and repeats its answer.
    fn once(&mut self, path: &str, key: &str, body: &Value) -> (u16, bool, String) {
        if key.is_empty() {
            return problem(400, "idempotency_key_missing", self.seq());
        }
        if let Some((status, first)) = self.answers.get(key).cloned() {
            let lies = self.lie == Lie::OtherBytes;
            let again = if lies { first.replace("\"total\":", "\"total\": ") } else { first };
            return (status, true, again);
        }
        let (status, replayed, answer) = self.post(path, key, body);
        if status < 300 {
            self.answers.insert(key.to_owned(), (status, answer.clone()));
        }
        (status, replayed, answer)
    }

    fn post(&mut self, path: &str, key: &str, body: &Value) -> (u16, bool, String) {
        match path {
            "/v1/stock/imports" => {
                let lines = parse_lines(&body["lines"]);
                let movements = self.shift_all(&lines, "SUPPLIER", "available");
                let seq = self.emit(json!({"type": "stock.imported", "aggregate": "cell:x",
                                           "version": 1, "movements": movements}));
                (201, false, json!({"lines": lines.len(), "seq": seq}).to_string())
            }
            "/v1/orders:buy" => self.take(key, body, false),
            "/v1/reservations" => self.take(key, body, true),
            "/v1/orders" => self.place(body["reservation"].as_str().unwrap_or_default()),
            path if path.ends_with("/cancel") => {
                let order = path.strip_prefix("/v1/orders/").unwrap_or_default();
                self.cancel(order.strip_suffix("/cancel").unwrap_or_default())
            }
            path => {
                let order = path.strip_prefix("/v1/reservations/").unwrap_or_default();
                let order = order.strip_suffix("/release").unwrap_or_default().to_owned();
                match self.orders.get(&order) {
                    None => problem(404, "not_found", self.seq()),
                    Some(found) if !found.reserved => {
                        problem(410, "reservation_expired", self.seq())
                    }
                    Some(_) => {
                        let seq = self.give_back(&order, "order.released");
                        if self.lie == Lie::PlaceReleased {
                            self.orders.get_mut(&order).expect("just found").reserved = true;
                            self.place(&order);
                        }
                        let body = json!({"order": order, "status": "cancelled", "version": 2,
                                          "seq": seq, "ack": "group"});
                        (200, false, body.to_string())
                    }
                }
            }
        }
    }

    fn place(&mut self, id: &str) -> (u16, bool, String) {
        let seq = self.seq();
        let Some(order) = self.orders.get_mut(id) else { return problem(404, "not_found", seq) };
        if !order.reserved {
            return problem(410, "reservation_expired", seq);
        }
        order.reserved = false;
        order.version += 1;
        let (lines, version) = (order.lines.clone(), order.version);
        let movements = self.shift_all(&lines, "reserved", "committed");
        let seq = self.emit(json!({"type": "order.placed", "aggregate": id, "version": version,
                                   "movements": movements}));
        let body = json!({"order": id, "status": "placed", "version": version, "seq": seq,
                          "ack": "group"});
        (201, false, body.to_string())
    }

    fn cancel(&mut self, id: &str) -> (u16, bool, String) {
        let seq = self.seq();
        let Some(order) = self.orders.get_mut(id) else { return problem(404, "not_found", seq) };
        if order.reserved || order.cancelled {
            return problem(409, "state_conflict", seq);
        }
        order.cancelled = true;
        order.version += 1;
        let (lines, customer) = (order.lines.clone(), order.customer.clone());
        let version = order.version;
        for (sku, _, quantity) in &lines {
            *self.held.entry((customer.clone(), sku.clone())).or_default() -= quantity;
        }
        let movements = self.shift_all(&lines, "committed", "available");
        let seq = self.emit(json!({"type": "order.cancelled", "aggregate": id,
                                   "version": version, "movements": movements}));
        let body = json!({"order": id, "status": "cancelled", "version": version, "seq": seq});
        (200, false, body.to_string())
    }

    fn refusal(&self, code: &str, line: usize, asked: u64, found: u64) -> (u16, bool, String) {
        let body = json!({"status": 409, "code": code, "line": line, "asked": asked,
                          "found": found, "seq": self.seq()});
        (409, false, body.to_string())
    }

    fn take(&mut self, key: &str, body: &Value, reserve: bool) -> (u16, bool, String) {
        let customer = body["customer"].as_str().unwrap_or_default().to_owned();
        let mut lines = parse_lines(&body["lines"]);
        for (at, (sku, _, quantity)) in lines.iter().enumerate() {
            let held = self.held.get(&(customer.clone(), sku.clone())).copied().unwrap_or(0);
            let limit = self.skus.get(sku).and_then(|sku| sku.limit).unwrap_or(u64::MAX);
            if held + quantity > limit && self.lie != Lie::IgnoreLimit {
                return self.refusal("limit_reached", at, *quantity, limit - held);
            }
        }
        let free = |shop: &Self, sku: &String, location: u64| {
            shop.cells.get(&(sku.clone(), location)).copied().unwrap_or(0)
        };
        for (at, (sku, location, quantity)) in lines.iter().enumerate() {
            let same = lines.iter().filter(|l| l.0 == *sku && l.1 == *location);
            let asked: u64 = same.map(|l| l.2).sum();
            let found = free(self, sku, *location);
            let lies = self.lie == Lie::FalseSoldOut && self.asked.is_multiple_of(50);
            let sells = self.lie == Lie::Oversell && !sku.ends_with("gone");
            if (found < asked as i64 && !sells) || lies {
                let found = if lies { 0 } else { found as u64 };
                return self.refusal("sold_out", at, *quantity, found);
            }
        }
        for (sku, _, quantity) in &lines {
            *self.held.entry((customer.clone(), sku.clone())).or_default() += quantity;
        }
        let price = |sku: &String| self.skus.get(sku).map_or(0, |sku| sku.price);
        let stated = body["lines"].as_array().cloned().unwrap_or_default();
        let costs = lines.iter().zip(&stated).map(|((sku, _, units), line)| {
            let unit = line["price"]["unit"].as_i64().unwrap_or_else(|| price(sku));
            unit * *units as i64 - line["price"]["discount"].as_i64().unwrap_or(0)
        });
        let amount: i64 = costs.sum();
        let total = json!({"amount": amount, "currency": "EUR"});
        let id = order_of(key);
        let status = if reserve { "reserved" } else { "placed" };
        let odd = self.asked.is_multiple_of(50) && !reserve;
        if self.lie == Lie::LoseOrder && odd {
            let body = json!({"order": id, "status": status, "total": total, "seq": self.seq()});
            return (201, false, body.to_string());
        }
        if self.lie == Lie::ShortOrder && odd {
            lines.last_mut().expect("a basket has lines").2 -= 1;
        }
        let to = if reserve { "reserved" } else { "committed" };
        let movements = self.shift_all(&lines, "available", to);
        let mut event = json!({"type": format!("order.{status}"), "aggregate": id, "version": 1,
                               "movements": movements, "lines": [], "total": total});
        let deadline = self.now + body["ttl_ms"].as_u64().unwrap_or(0);
        if reserve {
            event["expires_at"] = time_text(deadline).into();
        }
        let seq = self.emit(event.clone());
        if self.lie == Lie::DoubleOrder && odd {
            self.shift_all(&lines, "available", to);
            self.emit(event.clone());
        }
        if self.lie == Lie::GhostOrder && odd {
            self.shift_all(&lines, "available", to);
            let mut ghost = event;
            ghost["aggregate"] = order_of(&format!("{key}-ghost")).into();
            self.emit(ghost);
        }
        let (reserved, cancelled) = (reserve, false);
        let order = Order { customer, lines, reserved, cancelled, deadline, version: 1 };
        self.orders.insert(id.clone(), order);
        let mut body = json!({"order": id, "status": status, "seq": seq, "ack": "group",
                              "total": total});
        if reserve {
            body["expires_at"] = time_text(deadline).into();
        }
        (201, false, body.to_string())
    }

    fn stock(&self, query: &str) -> (u16, bool, String) {
        let codes = query.strip_prefix("sku=").unwrap_or_default().split(',');
        let rows = codes.map(|code| {
            let cells = self.cells.iter().filter(|((sku, _), _)| sku == code);
            let available: i64 = cells.map(|(_, units)| *units).sum();
            let off = i64::from(self.lie == Lie::WrongStock && code.ends_with("hot"));
            let sku = self.skus.get(code);
            json!({"sku": code, "available": (available + off).max(0), "tentative": 0,
                   "reserved": sku.map_or(0, |s| s.reserved.max(0)),
                   "committed": sku.map_or(0, |s| s.committed.max(0)),
                   "unavailable": 0, "shipped": 0, "seq": self.seq()})
        });
        (200, false, json!({"data": rows.collect::<Vec<_>>()}).to_string())
    }

    fn page(&self, query: &str) -> (u16, bool, String) {
        let number = |name: &str| {
            let pair = query.split('&').find_map(|pair| pair.strip_prefix(name));
            pair.and_then(|value| value.parse::<usize>().ok()).unwrap_or(0)
        };
        let after = number("after=").min(self.events.len());
        let end = (after + number("limit=")).min(self.events.len());
        let body = json!({"data": self.events[after..end], "next": end});
        (200, false, body.to_string())
    }
}

/// Returns the time in milliseconds since 1970.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

/// Writes milliseconds since 1970 as RFC 3339.
pub(crate) fn time_text(ms: u64) -> String {
    let (seconds, days) = (ms / 1_000, ms / 86_400_000);
    let (mut year, mut left) = (1970, days);
    let leap = |year: u64| {
        u64::from(year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    while left >= 365 + leap(year) {
        left -= 365 + leap(year);
        year += 1;
    }
    let lengths = [31, 28 + leap(year), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while left >= lengths[month] {
        left -= lengths[month];
        month += 1;
    }
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    let (month, day, milli) = (month + 1, left + 1, ms % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// Reads lines as (SKU, location, units); a line without location is taken from location 1.
fn parse_lines(lines: &Value) -> Vec<(String, u64, u64)> {
    let lines = lines.as_array().cloned().unwrap_or_default();
    let line = |line: &Value| {
        let sku = line["sku"].as_str().unwrap_or_default().to_owned();
        (sku, line["location"].as_u64().unwrap_or(1), line["quantity"].as_u64().unwrap_or(0))
    };
    lines.iter().map(line).collect()
}
