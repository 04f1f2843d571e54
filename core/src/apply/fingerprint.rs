//! What makes two requests the same: 32 bits over the fields of a command, key excluded.
//!
//! Stored with each order and answer, so the order of the fields here is part of the format of
//! checkpoints and never changes.

use crate::command::{
    Adjust, Buy, Cancel, Count, DefineSku, Extend, Fill, Import, Line, LineQuantity, Place,
    Placement, Quarantine, Receive, Release, Reserve, Ship, Short, TransferIn, TransferOut,
};
use crate::decided::{Decided, PolicyStep, RecordRisk};
use crate::hash::Fingerprint;
use crate::money::Money;

fn money(print: Fingerprint, money: Option<Money>) -> Fingerprint {
    match money {
        None => print.word(0),
        Some(money) => {
            print.word(1 + u64::from(money.currency().number())).word(money.minor() as u64)
        }
    }
}

fn basket(
    mut print: Fingerprint,
    customer: u64,
    lines: &[Line],
    fill: Fill,
    total: Option<Money>,
    decided: Option<&Decided>,
) -> Fingerprint {
    // What policies have decided is none of the caller's: it may be another the next time.
    let added = decided.map_or(0, |decided| usize::from(decided.added));
    let priced = decided.is_none_or(|decided| decided.pricing.is_none());
    let lines = &lines[..lines.len() - added.min(lines.len())];
    print = print.word(customer).word(lines.len() as u64);
    for line in lines {
        let place = u64::from(line.location.0) << 32 | u64::from(line.quantity.units());
        print = print.word(line.sku.bits()).word(place);
        if let Some(price) = line.price.filter(|_| priced) {
            print = print.word(price.unit as u64).word(price.discount as u64).word(1);
        }
    }
    let fill = match fill {
        Fill::All => 0,
        Fill::Partial => 1,
        Fill::Min(units) => 2 + u64::from(units),
    };
    let print = money(print.word(fill), total);
    // Nothing asked is as if nobody had been asked.
    match decided.map_or(0, |decided| decided.ask) {
        0 => print,
        ask => print.word(ask),
    }
}

fn lines(mut print: Fingerprint, lines: &[LineQuantity], version: Option<u32>) -> Fingerprint {
    print = print.word(lines.len() as u64);
    for line in lines {
        print = print.word(u64::from(line.line) << 32 | u64::from(line.quantity.units()));
    }
    print.word(version.map_or(0, |v| 1 + u64::from(v)))
}

fn id(print: Fingerprint, bits: u128) -> Fingerprint {
    print.word(bits as u64).word((bits >> 64) as u64)
}

pub(crate) fn of_buy(buy: &Buy) -> u32 {
    let print = Fingerprint::new(4);
    let lines = buy.lines.as_slice();
    let decided = buy.decided.as_deref();
    basket(print, buy.customer.0, lines, buy.fill, buy.expected_total, decided).finish()
}

pub(crate) fn of_reserve(reserve: &Reserve) -> u32 {
    let print = Fingerprint::new(5).word(reserve.ttl_ms).word(reserve.hard_cap_ms);
    let lines = reserve.lines.as_slice();
    let (fill, total) = (reserve.fill, reserve.expected_total);
    basket(print, reserve.customer.0, lines, fill, total, reserve.decided.as_deref()).finish()
}

pub(crate) fn of_place(place: &Place) -> u32 {
    money(id(Fingerprint::new(6), place.order.bits()), place.expected_total).finish()
}

pub(crate) fn of_extend(extend: &Extend) -> u32 {
    id(Fingerprint::new(7), extend.order.bits()).word(extend.ttl_ms).finish()
}

pub(crate) fn of_release(release: &Release) -> u32 {
    id(Fingerprint::new(8), release.order.bits()).word(release.reason.into()).finish()
}

pub(crate) fn of_cancel(cancel: &Cancel) -> u32 {
    let print = id(Fingerprint::new(9), cancel.order.bits()).word(cancel.reason.into());
    lines(print, &cancel.lines, cancel.expected_version).finish()
}

pub(crate) fn of_ship(ship: &Ship) -> u32 {
    let print = id(Fingerprint::new(10), ship.order.bits());
    lines(print, &ship.lines, ship.expected_version).finish()
}

pub(crate) fn of_short(short: &Short) -> u32 {
    let print = id(Fingerprint::new(11), short.order.bits());
    lines(print, &short.lines, short.expected_version).finish()
}

pub(crate) fn of_risk(record: &RecordRisk) -> u32 {
    id(Fingerprint::new(12), record.order.bits())
        .word(u64::from(record.reason) << 8 | record.risk as u64)
        .finish()
}

pub(crate) fn of_policy_step(step: &PolicyStep) -> u32 {
    let mut print = Fingerprint::new(13)
        .word(u64::from(step.share) << 16 | (step.step as u64) << 8 | step.kind as u64);
    for bytes in [
        step.plugin.as_slice(),
        step.config.as_slice(),
        step.name.as_bytes(),
        step.version.as_bytes(),
        step.note.as_bytes(),
    ] {
        print = text(print, bytes);
    }
    print.finish()
}

fn text(mut print: Fingerprint, bytes: &[u8]) -> Fingerprint {
    print = print.word(bytes.len() as u64);
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        print = print.word(u64::from_le_bytes(word));
    }
    print
}

pub(crate) fn of_define(define: &DefineSku) -> u32 {
    let mut print = text(Fingerprint::new(2), define.code.as_bytes());
    let placement = match define.placement {
        Placement::BySku => 0,
        Placement::ByLocation => 1,
        Placement::Group(group) => group,
    };
    print = print.word(define.kind as u64).word(placement);
    print = money(print, Some(define.price));
    print = print.word(define.limit.map_or(0, |l| u64::from(l.units())));
    for (sku, units) in &define.components {
        print = print.word(sku.bits()).word(u64::from(units.units()));
    }
    print.finish()
}

pub(crate) fn of_receive(receive: &Receive) -> u32 {
    cell(Fingerprint::new(20), receive.sku.bits(), receive.location.0, receive.lot.0)
        .word(receive.quantity.units().into())
        .finish()
}

pub(crate) fn of_adjust(adjust: &Adjust) -> u32 {
    cell(Fingerprint::new(21), adjust.sku.bits(), adjust.location.0, adjust.lot.0)
        .word(adjust.expected)
        .word(adjust.available)
        .finish()
}

pub(crate) fn of_count(count: &Count) -> u32 {
    cell(Fingerprint::new(27), count.sku.bits(), count.location.0, count.lot.0)
        .word(count.expected)
        .word(count.counted)
        .finish()
}

pub(crate) fn of_quarantine(quarantine: &Quarantine) -> u32 {
    let print = Fingerprint::new(22 + u8::from(quarantine.back));
    cell(print, quarantine.sku.bits(), quarantine.location.0, quarantine.lot.0)
        .word(quarantine.quantity.units().into())
        .word(quarantine.reason as u64)
        .finish()
}

pub(crate) fn of_transfer_out(transfer: &TransferOut) -> u32 {
    cell(Fingerprint::new(24), transfer.sku.bits(), transfer.from.0, transfer.lot.0)
        .word(transfer.to.0.into())
        .word(transfer.quantity.units().into())
        .finish()
}

pub(crate) fn of_transfer_in(transfer: &TransferIn) -> u32 {
    let print = cell(Fingerprint::new(25), transfer.sku.bits(), transfer.from.0, 0);
    id(print, transfer.transfer.bits()).word(transfer.quantity.units().into()).finish()
}

pub(crate) fn of_import(import: &Import) -> u32 {
    let mut print = Fingerprint::new(26).word(import.lines.len() as u64);
    for line in &import.lines {
        print = cell(print, line.sku.bits(), line.location.0, line.lot.0)
            .word(line.quantity.units().into());
    }
    print.finish()
}

fn cell(print: Fingerprint, sku: u64, location: u32, lot: u32) -> Fingerprint {
    print.word(sku).word(u64::from(location) << 32 | u64::from(lot))
}

/// Returns the fingerprint of a command.
pub(crate) fn of(command: &crate::command::Command) -> u32 {
    use crate::command::Command;
    match command {
        Command::DefineSku(command) => of_define(command),
        Command::Receive(command) => of_receive(command),
        Command::Adjust(command) => of_adjust(command),
        Command::Count(command) => of_count(command),
        Command::Quarantine(command) => of_quarantine(command),
        Command::TransferOut(command) => of_transfer_out(command),
        Command::TransferIn(command) => of_transfer_in(command),
        Command::Import(command) => of_import(command),
        Command::Reserve(command) => of_reserve(command),
        Command::Extend(command) => of_extend(command),
        Command::Release(command) => of_release(command),
        Command::Place(command) => of_place(command),
        Command::Buy(command) => of_buy(command),
        Command::Cancel(command) => of_cancel(command),
        Command::Ship(command) => of_ship(command),
        Command::Short(command) => of_short(command),
        Command::PolicyStep(command) => of_policy_step(command),
        Command::RecordRisk(command) => of_risk(command),
        Command::Tick => 0,
    }
}
