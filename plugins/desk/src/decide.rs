//! The way of a batch of baskets: sizes, prices, scores, and decisions written into commands.

use std::sync::atomic::{AtomicU64, Ordering};

use onhand_core::limits::LINES_MAX;
use onhand_core::{
    Currency, Decided, DecidedBy, Fill, FraudDecision, Line, LinePrice, Money, PolicyDecision,
    PolicyNo, PolicyRefusal, Refusal, Reject, Risk as OrderRisk, SkuId, SkuKind,
};
use onhand_plugin_runtime::{By, Fraud, Made, Pricing, World};
use onhand_policy::decision::{PriceOutcome, Prices, Risk, Verdict, check_prices};
use onhand_policy::fact::{FraudHeader, FraudLine, PricingHeader, PricingLine};

use crate::ask::{Ask, AskError, Quoting};
use crate::definitions::Definitions;
use crate::desk::Shared;
use crate::facts::{FraudFacts, PriceAnswer, PricingFacts};
use crate::guard::{Sample, WHOLE};
use crate::limits::BATCH_MAX;
use crate::policy::{Answered, Policy};
use crate::quote::{PricedBasket, Terms, hash_lines};
use crate::set::{Holds, Kept, Part, Route, Set, Side, Trial};

/// A thread that is not the desk's own, deciding where it is.
struct Seat<'s>(&'s AtomicU64);

impl<'s> Seat<'s> {
    fn take(taken: &'s AtomicU64) -> Self {
        taken.fetch_add(1, Ordering::Relaxed);
        Self(taken)
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is known of a basket while it is decided on.
struct Basket {
    /// Index of its ask.
    at: usize,
    currency: Currency,
    units: u32,
    /// Sum of list prices, or of the caller's.
    list_total: i64,
    /// What is to be paid.
    total: i64,
    /// Index of its first line in the list prices.
    first: usize,
    decided: Decided,
    /// Whether a pricing policy is asked.
    unpriced: bool,
    /// Who is asked by the kind of policy whose turn it is.
    part: Part,
}

/// Baskets of one batch, and the list prices of their lines.
pub(crate) struct Work {
    baskets: Vec<Basket>,
    units: Vec<i64>,
}

impl Work {
    /// Looks one basket up and adds it.
    fn size(&mut self, skus: &mut Definitions<'_>, at: usize, ask: &Ask) -> Result<(), AskError> {
        let lines = ask.lines();
        let Some(first_line) = lines.first().filter(|_| lines.len() <= LINES_MAX) else {
            return Err(refused(Reject::LineCount, 0));
        };
        let unpriced = first_line.price.is_none();
        let first = self.units.len();
        let mut currency = None;
        let (mut units, mut total) = (0_u64, 0_i64);
        for (number, line) in lines.iter().enumerate() {
            let sku = skus.get(line.sku).ok_or(refused(Reject::SkuUnknown, number))?;
            let (own, quantity) = (sku.price.currency(), line.quantity.units());
            if *currency.get_or_insert(own) != own {
                return Err(refused(Reject::CurrencyMismatch, number));
            }
            if line.price.is_none() != unpriced {
                return Err(refused(Reject::AmountInvalid, number));
            }
            if quantity == 0 {
                return Err(refused(Reject::QuantityInvalid, number));
            }
            let LinePrice { unit, discount } =
                line.price.unwrap_or(LinePrice { unit: sku.price.minor(), discount: 0 });
            let amount = unit.checked_mul(quantity.into()).unwrap_or(i64::MAX);
            let fits = (0..=Money::MINOR_MAX).contains(&amount) && unit >= 0;
            if !fits || !(0..=amount).contains(&discount) {
                return Err(refused(Reject::AmountInvalid, number));
            }
            self.units.push(unit);
            units += u64::from(quantity);
            // At most 512 amounts below 2^53: no overflow.
            total += amount - discount;
        }
        let currency = currency.unwrap_or(Currency::EUR);
        if total > Money::MINOR_MAX {
            return Err(refused(Reject::AmountInvalid, 0));
        }
        let decided = Decided { ask: ask.shopper.hash(), ..Decided::default() };
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let (list_total, part) = (total, Part::default());
        let basket =
            Basket { at, currency, units, list_total, total, first, decided, unpriced, part };
        self.baskets.push(basket);
        Ok(())
    }

    /// Says of every basket who is asked about it now.
    fn assign<W: World>(&mut self, route: &Route<W>, asks: &[Ask]) {
        for basket in &mut self.baskets {
            let ask = &asks[basket.at];
            basket.part = route.part(ask.customer(), ask.key());
        }
    }
}

impl Shared {
    /// Decides on baskets, in batches.
    pub(crate) fn decide(&self, asks: &mut [Ask]) {
        self.decide_by(&self.set(), &mut Kept::default(), asks);
    }

    /// Decides on baskets if that takes little time at most; returns whether it did.
    pub(crate) fn decide_here(&self, asks: &mut [Ask]) -> bool {
        let set = self.set();
        let seats = set.seats(asks.len() as u64, self.threads);
        // Counted down in any case, and before anybody else is let in.
        let _seat = Seat::take(&self.here);
        if self.here.load(Ordering::Relaxed) > seats {
            return false;
        }
        let Some(mut kept) = set.hold() else { return false };
        self.decide_by(&set, &mut kept, asks);
        true
    }

    fn decide_by(&self, set: &Set, kept: &mut Kept<'_>, asks: &mut [Ask]) {
        for batch in asks.chunks_mut(BATCH_MAX) {
            let plain = |ask: &Ask| ask.quote.is_none() && !ask.is_quote();
            if set.is_silent() && batch.iter().all(plain) {
                batch.iter_mut().for_each(remember);
                continue;
            }
            let mut work = self.size(batch);
            self.price(set, &mut kept.pricing, batch, &mut work);
            self.quote(batch, &mut work);
            self.score(set, &mut kept.fraud, batch, &mut work);
            for basket in work.baskets {
                let Basket { at, decided, .. } = basket;
                // Where only a shadow was asked, the journal says nothing of it.
                if decided != Decided::default() {
                    batch[at].set_decided(decided);
                }
            }
        }
    }

    /// Makes the quotes that are asked for; their baskets go no further.
    fn quote(&self, asks: &mut [Ask], work: &mut Work) {
        if !asks.iter().any(Ask::is_quote) {
            return;
        }
        let Work { baskets, units } = work;
        baskets.retain(|basket| {
            let ask = &mut asks[basket.at];
            if !ask.is_quote() {
                return true;
            }
            let Basket { currency, list_total, total, first, decided, .. } = basket;
            let priced = PricedBasket {
                currency: *currency,
                list_total: *list_total,
                total: *total,
                units: &units[*first..],
                decided,
            };
            let quote = priced.quote(ask, self.quote_ms, &self.secret);
            ask.quoting = Quoting::Done(Box::new(quote));
            false
        });
    }

    /// Looks every basket up: its list prices, its sum, and its quote if it names one.
    fn size(&self, asks: &mut [Ask]) -> Work {
        let lines = asks.iter().map(|ask| ask.lines().len()).sum();
        let mut work =
            Work { baskets: Vec::with_capacity(asks.len()), units: Vec::with_capacity(lines) };
        let mut skus = Definitions::new(&self.engine);
        for (at, ask) in asks.iter_mut().enumerate() {
            if let Err(error) = work.size(&mut skus, at, ask) {
                // It must not pass undecided: what is refused now may be fit for sale in a moment.
                ask.fault = Some(error);
                continue;
            }
            if ask.is_quote() && ask.lines().iter().any(|line| line.price.is_some()) {
                work.baskets.pop();
                ask.fault = Some(AskError::OtherQuote("prices"));
                continue;
            }
            let Some(token) = ask.quote.take() else { continue };
            let basket = work.baskets.last_mut().expect("it was sized");
            if let Err(error) = self.take_quote(&token, ask, basket) {
                work.baskets.pop();
                ask.fault = Some(error);
            }
        }
        work
    }

    fn take_quote(&self, token: &str, ask: &mut Ask, basket: &mut Basket) -> Result<(), AskError> {
        let terms = Terms::read(token, &self.secret).ok_or(AskError::ForgedQuote)?;
        if terms.customer != ask.customer() {
            return Err(AskError::OtherQuote("customer"));
        }
        if !basket.unpriced || terms.lines_hash != hash_lines(ask.lines()) {
            return Err(AskError::OtherQuote("lines"));
        }
        if !terms.coupons.is_empty() && ask.fill() != Fill::All {
            return Err(AskError::OtherQuote("fill"));
        }
        basket.unpriced = false;
        basket.decided.pricing = terms.decision;
        // Another quote is another request, and the same one is the same even when it has expired:
        // a repetition is compared by the token, and by list prices where no policy gave others.
        basket.decided.ask = ask.shopper.hash_with(token);
        let paid = |(line, price): (&Line, &LinePrice)| {
            price.unit * i64::from(line.quantity.units()) - price.discount
        };
        basket.total = ask.lines().iter().zip(&terms.prices).map(paid).sum();
        write_prices(ask, basket, &terms.prices, &terms.coupons);
        if terms.expires_at <= ask.now_ms {
            basket.decided.refusal = Some(PolicyRefusal::Quote);
        }
        Ok(())
    }

    /// Asks pricing policies: one call for each of them.
    fn price(&self, set: &Set, kept: &mut Holds<'_, Pricing>, asks: &mut [Ask], work: &mut Work) {
        if set.pricing.is_empty() {
            return;
        }
        work.assign(&set.pricing, asks);
        for side in Side::BOTH {
            let unpriced = |basket: &Basket| basket.unpriced;
            let Some(call) = Call::gather(&set.pricing, side, asks, work, unpriced) else {
                continue;
            };
            let mut facts = PricingFacts::default();
            for basket in call.members.iter().map(|member| &work.baskets[*member]) {
                let units = &work.units[basket.first..];
                self.gather_prices(set, &asks[basket.at], basket, units, &mut facts);
            }
            let Ok(batch) = facts.batch() else {
                call.fail(work);
                continue;
            };
            let Answered { answer, made, nanoseconds } =
                call.policy.price(call.now_ms, batch, &set.prices, kept.of(side).as_mut());
            let mut sample = Sample::default();
            for (order, member) in call.members.iter().enumerate() {
                let basket = &mut work.baskets[*member];
                let ask = &mut asks[basket.at];
                let input = batch.input_hash(order);
                let decision = PricedOrder { no: call.policy.no, made: made[order], input };
                decision.write(&answer, order, batch.headers()[order], ask, basket);
                if set.pricing.canary.is_some() {
                    let outcome = &answer.outcomes[order];
                    note_price(&mut sample, made[order], outcome, basket.list_total);
                }
            }
            self.note_call(&set.pricing, side, call.now_ms, sample, nanoseconds);
            let shadowed = call.shadowed(work);
            self.after_prices(set, call.now_ms, facts, answer, &shadowed);
        }
        if let Some(trial) = &set.pricing.canary {
            // Who sells at list price is the incumbent of a first plugin.
            let priced = |orders| Sample {
                priced: orders,
                price_bp_sum: orders * WHOLE,
                ..Sample::default()
            };
            let nobody = |basket: &&Basket| basket.unpriced && basket.part.side.is_none();
            let undecided = work.baskets.iter().filter(nobody);
            self.note_undecided(trial, asks, undecided, priced);
        }
        if set.pricing.shadow.is_some() {
            self.shadow_list_prices(set, asks, work);
        }
    }

    /// Tells a canary's guards what a call of either side did.
    fn note_call<W: World>(
        &self,
        route: &Route<W>,
        side: Side,
        now_ms: u64,
        sample: Sample,
        nanoseconds: u64,
    ) {
        if let Some(trial) = &route.canary {
            let of_canary = side == Side::Canary;
            let tripped = trial.watch.note(now_ms, of_canary, sample, nanoseconds);
            self.call_back(trial.policy.no, tripped);
        }
    }

    /// Tells a canary's guards of baskets that nobody decides on.
    fn note_undecided<'b, W: World>(
        &self,
        trial: &Trial<W>,
        asks: &[Ask],
        undecided: impl Iterator<Item = &'b Basket>,
        sample: impl Fn(u64) -> Sample,
    ) {
        let (mut orders, mut now_ms) = (0, 0);
        for basket in undecided {
            orders += 1;
            now_ms = now_ms.max(asks[basket.at].now_ms);
        }
        if orders == 0 {
            return;
        }
        let sample = Sample { orders, ..sample(orders) };
        let tripped = trial.watch.note(now_ms, false, sample, 0);
        self.call_back(trial.policy.no, tripped);
    }

    /// Offers baskets that nobody prices to the shadow, beside their list prices.
    fn shadow_list_prices(&self, set: &Set, asks: &[Ask], work: &Work) {
        let mut facts = PricingFacts::default();
        let mut now_ms = 0;
        for basket in &work.baskets {
            let ask = &asks[basket.at];
            let nobody = basket.unpriced && basket.part.side.is_none();
            if nobody && basket.part.shadowed {
                now_ms = now_ms.max(ask.now_ms);
                self.gather_prices(set, ask, basket, &work.units[basket.first..], &mut facts);
            }
        }
        let Ok(batch) = facts.batch() else { return };
        let orders: Vec<usize> = (0..batch.headers().len()).collect();
        let Ok(prices) = check_prices(&batch, &[]) else { return };
        if !orders.is_empty() {
            self.after_prices(set, now_ms, facts, prices, &orders);
        }
    }

    fn gather_prices(
        &self,
        set: &Set,
        ask: &Ask,
        basket: &Basket,
        units: &[i64],
        facts: &mut PricingFacts,
    ) {
        for (line, unit) in ask.lines().iter().zip(units) {
            facts.lines.push(PricingLine {
                sku: line.sku.bits(),
                class: set.prices.classes.get(&line.sku).copied().unwrap_or(0),
                location: line.location.0,
                quantity: line.quantity.units(),
                unit: *unit,
            });
        }
        // A use of a coupon goes with its goods or not at all, so that the basket must be whole.
        if ask.fill() == Fill::All {
            let room = LINES_MAX - ask.lines().len();
            let coupon = |bits: &&u64| {
                let sku = self.engine.sku(SkuId::new(**bits));
                sku.is_some_and(|sku| {
                    sku.kind == SkuKind::Coupon && sku.price.currency() == basket.currency
                })
            };
            let given = &ask.shopper.coupons;
            let coupons = given.iter().enumerate();
            let once = coupons.filter(|(at, coupon)| !given[..*at].contains(coupon));
            facts.coupons.extend(once.map(|(_, c)| c).filter(coupon).take(room).copied());
        }
        facts.close(PricingHeader {
            customer: ask.customer().0,
            segment: ask.shopper.segment,
            now: ask.now_ms,
            currency: basket.currency.number().into(),
            ..PricingHeader::default()
        });
    }

    /// Asks fraud policies: one call for each of them.
    fn score(&self, set: &Set, kept: &mut Holds<'_, Fraud>, asks: &mut [Ask], work: &mut Work) {
        if set.fraud.is_empty() {
            return;
        }
        work.assign(&set.fraud, asks);
        let headers = self.sight(asks, work);
        for side in Side::BOTH {
            let welcome = |basket: &Basket| basket.decided.refusal.is_none();
            let Some(call) = Call::gather(&set.fraud, side, asks, work, welcome) else {
                continue;
            };
            let mut facts = FraudFacts::default();
            for member in &call.members {
                let basket = &work.baskets[*member];
                let units = &work.units[basket.first..];
                Self::gather_risk(&asks[basket.at], basket, units, headers[*member], &mut facts);
            }
            let Ok(batch) = facts.batch() else {
                call.fail(work);
                continue;
            };
            let Answered { answer, made, nanoseconds } =
                call.policy.score(call.now_ms, batch, &set.risks, kept.of(side).as_mut());
            let mut sample = Sample::default();
            for (order, member) in call.members.iter().enumerate() {
                let decided = &mut work.baskets[*member].decided;
                let input = batch.input_hash(order);
                write_risk(decided, call.policy.no, made[order], input, answer[order]);
                if matches!(answer[order].verdict, Verdict::Challenge | Verdict::Review) {
                    decided.review_ms = set.risks.review_ms;
                }
                note_risk(&mut sample, made[order], answer[order]);
            }
            self.note_call(&set.fraud, side, call.now_ms, sample, nanoseconds);
            let shadowed = call.shadowed(work);
            self.after_scores(set, call.now_ms, facts, answer, &shadowed);
        }
        if let Some(trial) = &set.fraud.canary {
            let nobody =
                |basket: &&Basket| basket.part.side.is_none() && basket.decided.refusal.is_none();
            let undecided = work.baskets.iter().filter(nobody);
            self.note_undecided(trial, asks, undecided, |_| Sample::default());
        }
        if set.fraud.shadow.is_some() {
            self.shadow_unscored(set, asks, work, &headers);
        }
    }

    /// Writes the facts of one basket for fraud policies.
    fn gather_risk(
        ask: &Ask,
        basket: &Basket,
        units: &[i64],
        header: FraudHeader,
        facts: &mut FraudFacts,
    ) {
        let own = ask.lines().len() - usize::from(basket.decided.added);
        for (line, unit) in ask.lines()[..own].iter().zip(units) {
            let (sku, quantity) = (line.sku.bits(), line.quantity.units());
            let unit = line.price.map_or(*unit, |price| price.unit);
            facts.lines.push(FraudLine { sku, quantity, unit });
        }
        facts.close(header);
    }

    /// Offers baskets that nobody scores to the shadow, beside no suspicion.
    fn shadow_unscored(&self, set: &Set, asks: &[Ask], work: &Work, headers: &[FraudHeader]) {
        let mut facts = FraudFacts::default();
        let mut now_ms = 0;
        for (basket, header) in work.baskets.iter().zip(headers) {
            let ask = &asks[basket.at];
            let Part { side, shadowed } = basket.part;
            if side.is_none() && shadowed && basket.decided.refusal.is_none() {
                now_ms = now_ms.max(ask.now_ms);
                Self::gather_risk(ask, basket, &work.units[basket.first..], *header, &mut facts);
            }
        }
        let orders: Vec<usize> = (0..facts.headers.len()).collect();
        if !orders.is_empty() {
            let risks = vec![Risk::default(); orders.len()];
            self.after_scores(set, now_ms, facts, risks, &orders);
        }
    }

    /// Makes the headers of fraud facts, each with what was seen before it, and counts it.
    fn sight(&self, asks: &[Ask], work: &Work) -> Vec<FraudHeader> {
        let header = |basket: &Basket| {
            let ask = &asks[basket.at];
            FraudHeader {
                customer: ask.customer().0,
                address: ask.shopper.address,
                device: ask.shopper.device,
                now: ask.now_ms,
                currency: basket.currency.number().into(),
                total: basket.total,
                units: basket.units,
                customer_age_days: ask.shopper.age_days,
                distance_km: ask.shopper.distance_km,
                ..FraudHeader::default()
            }
        };
        let keys = work.baskets.iter().map(|basket| asks[basket.at].key());
        let mut headers: Vec<FraudHeader> = work.baskets.iter().map(header).collect();
        self.sightings.lock().attempted(&mut headers, keys);
        headers
    }
}

/// One call of a policy of either kind: who is asked, when, and about which baskets.
struct Call<'s, W: World> {
    policy: &'s Policy<W>,
    now_ms: u64,
    /// Indices of baskets, in their order.
    members: Vec<usize>,
}

impl<'s, W: World> Call<'s, W> {
    /// Gathers the baskets of one side that are to be decided on; `None` without any.
    fn gather(
        route: &'s Route<W>,
        side: Side,
        asks: &[Ask],
        work: &Work,
        is_open: impl Fn(&Basket) -> bool,
    ) -> Option<Self> {
        let policy = route.policy(side)?;
        let (mut now_ms, mut members) = (0, Vec::new());
        for (number, basket) in work.baskets.iter().enumerate() {
            if basket.part.side == Some(side) && is_open(basket) {
                now_ms = now_ms.max(asks[basket.at].now_ms);
                members.push(number);
            }
        }
        (!members.is_empty()).then_some(Self { policy, now_ms, members })
    }

    /// Refuses the baskets of facts that make no batch: sizes were checked, so that this cannot be,
    /// and nothing passes undecided in any case.
    fn fail(&self, work: &mut Work) {
        for member in &self.members {
            work.baskets[*member].decided.refusal = Some(PolicyRefusal::Failed(self.policy.no));
        }
    }

    /// Returns which of the call's orders the shadow is asked about too.
    fn shadowed(&self, work: &Work) -> Vec<usize> {
        let shadowed = |order: &usize| work.baskets[self.members[*order]].part.shadowed;
        (0..self.members.len()).filter(shadowed).collect()
    }
}

fn refused(reject: Reject, line: usize) -> AskError {
    AskError::Refused(Refusal { reject, line: line as u16, asked: 0, found: 0 })
}

/// Keeps what a caller said of the buyer with the command, so that a repetition is found even if
/// policies came meanwhile.
fn remember(ask: &mut Ask) {
    ask.set_decided(Decided { ask: ask.shopper.hash(), ..Decided::default() });
}

fn by(made: Made) -> DecidedBy {
    match made.by {
        // A refusal is not recorded, so that nobody reads who made it.
        By::Plugin | By::FailClosed => DecidedBy::Policy,
        By::BuiltIn => DecidedBy::BuiltIn,
        By::FailOpen => DecidedBy::FailOpen,
    }
}

/// One order's part of a pricing answer.
struct PricedOrder {
    no: PolicyNo,
    made: Made,
    input: u64,
}

impl PricedOrder {
    fn write(
        &self,
        prices: &Prices,
        order: usize,
        header: PricingHeader,
        ask: &mut Ask,
        basket: &mut Basket,
    ) {
        let Self { no, made, input } = *self;
        let decision = PolicyDecision { policy: no, by: by(made), fuel: made.fuel, input };
        basket.decided.pricing = Some(decision);
        match prices.outcomes[order] {
            PriceOutcome::Refused { code } => {
                let closed = made.by == By::FailClosed;
                let refusal =
                    if closed { PolicyRefusal::Failed(no) } else { PolicyRefusal::Price(code) };
                basket.decided.refusal = Some(refusal);
            }
            PriceOutcome::Priced { total, .. } => {
                basket.total = total;
                let first = header.first_line as usize;
                let own = &prices.lines[first..first + header.line_count as usize];
                let coupons: Vec<SkuId> = prices.coupons_of(order).collect();
                write_prices(ask, basket, own, &coupons);
            }
        }
    }
}

fn write_prices(ask: &mut Ask, basket: &mut Basket, prices: &[LinePrice], coupons: &[SkuId]) {
    ask.set_prices(prices, coupons);
    basket.decided.added = coupons.len() as u16;
}

fn write_risk(decided: &mut Decided, no: PolicyNo, made: Made, input: u64, risk: Risk) {
    let decision = PolicyDecision { policy: no, by: by(made), fuel: made.fuel, input };
    let Risk { points, verdict, code } = risk;
    let risk = match verdict {
        Verdict::Allow => OrderRisk::Allow,
        Verdict::Challenge => OrderRisk::Challenge,
        Verdict::Review => OrderRisk::Review,
        Verdict::Deny => OrderRisk::Deny,
    };
    decided.fraud = Some(FraudDecision { decision, risk, points, code });
    if verdict == Verdict::Deny {
        let closed = made.by == By::FailClosed;
        let refusal = if closed { PolicyRefusal::Failed(no) } else { PolicyRefusal::Fraud(code) };
        decided.refusal = Some(refusal);
    }
}

fn note_price(sample: &mut Sample, made: Made, outcome: &PriceOutcome, list_total: i64) {
    sample.note(made, |sample| match outcome {
        PriceOutcome::Refused { .. } => sample.refused += 1,
        PriceOutcome::Priced { total, .. } if list_total > 0 => {
            sample.priced += 1;
            let whole = i128::from(list_total);
            sample.price_bp_sum += (i128::from(*total) * 10_000 / whole) as u64;
        }
        PriceOutcome::Priced { .. } => {}
    });
}

fn note_risk(sample: &mut Sample, made: Made, risk: Risk) {
    sample.note(made, |sample| sample.refused += u64::from(risk.verdict == Verdict::Deny));
}

/// Returns one order's part of an answer.
pub(crate) fn price_answer(facts: &PricingFacts, prices: &Prices, order: usize) -> PriceAnswer {
    let header = facts.headers[order];
    let first = header.first_line as usize;
    let lines = &prices.lines[first..first + header.line_count as usize];
    let (refused, total) = match prices.outcomes[order] {
        PriceOutcome::Priced { total, .. } => (None, total),
        PriceOutcome::Refused { code } => (Some(code), 0),
    };
    PriceAnswer {
        refused,
        total,
        discounts: lines.iter().map(|line| line.discount).collect(),
        coupons: prices.coupons_of(order).map(SkuId::bits).collect(),
    }
}
