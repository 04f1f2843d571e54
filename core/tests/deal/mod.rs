//! Steps of policies, what they decide about baskets, and what is found about orders.
#![allow(clippy::unused_self, reason = "the dealer's methods read alike, with state or without")]

use super::*;

impl Run {
    pub(super) fn policy_step(&self, dice: &mut Dice<'_>, key: Key) -> Command {
        let kinds = [PolicyKind::Pricing, PolicyKind::Fraud, PolicyKind::Recommend];
        let step = Step::ALL[dice.below(11) as usize];
        let mut policy = PolicyStep {
            key,
            kind: kinds[dice.below(5) as usize % 3],
            step,
            name: "price/tiers-2.v_1".to_owned(),
            version: "1.2.0 (beta)".to_owned(),
            plugin: [dice.below(2) as u8; 32],
            config: [dice.below(2) as u8; 32],
            share: if step == Step::Canary { 1 + 9_999 * (dice.below(2) as u16) } else { 0 },
            note: String::new(),
        };
        match dice.below(24) {
            23 => "Capital".clone_into(&mut policy.name),
            22 => policy.share = 10_001,
            21 => policy.share = 7,
            20 => "a\u{e9}".clone_into(&mut policy.note),
            19 => policy.version = "1".repeat(33),
            18 => policy.name = "x".repeat(64),
            17 => policy.name.clear(),
            _ => "as agreed".clone_into(&mut policy.note),
        }
        Command::PolicyStep(Box::new(policy))
    }

    pub(super) fn record_risk(&self, dice: &mut Dice<'_>, key: Key) -> Command {
        let open = self.model.orders.iter();
        let open = open.filter(|(_, o)| o.risk.is_open() && o.status == OrderStatus::Reserved);
        let open: Vec<OrderId> = open.map(|(id, _)| *id).collect();
        let order = if open.is_empty() || dice.one_in(6) {
            self.orders.last().copied().unwrap_or(OrderId::from(key))
        } else {
            open[dice.below(open.len() as u32) as usize]
        };
        let risks = [Risk::Allow, Risk::Deny, Risk::Challenge, Risk::Review, Risk::Allow];
        let risk = if dice.one_in(20) { Risk::Unscored } else { risks[dice.below(5) as usize] };
        Command::RecordRisk(RecordRisk { key, order, risk, reason: dice.below(3) as u16 })
    }

    /// The same request, about which policies have decided, perhaps otherwise than before.
    pub(super) fn decided_anew(&self, command: Command, dice: &mut Dice<'_>) -> Command {
        if dice.one_in(3) {
            return command;
        }
        let command = if dice.one_in(2) { command } else { model::decide::asked(&command) };
        match command {
            Command::Buy(mut buy) => {
                let before = buy.decided.take();
                let (lines, decided) = self.decide(buy.lines.as_slice(), before, dice);
                (buy.lines, buy.decided) = (lines.into(), Some(decided));
                Command::Buy(buy)
            }
            Command::Reserve(mut reserve) => {
                let before = reserve.decided.take();
                let (lines, decided) = self.decide(reserve.lines.as_slice(), before, dice);
                (reserve.lines, reserve.decided) = (lines.into(), Some(decided));
                Command::Reserve(reserve)
            }
            other => other,
        }
    }

    fn decide(
        &self,
        lines: &[Line],
        before: Option<Box<Decided>>,
        dice: &mut Dice<'_>,
    ) -> (Vec<Line>, Box<Decided>) {
        let mut lines = lines.to_vec();
        let known = self.model.policies.len() as u32;
        let decision = |kind: PolicyKind, dice: &mut Dice<'_>| {
            let of_kind = self.model.policies.iter().position(|policy| policy.0 == kind);
            let number = of_kind.map_or(0, |at| at as u32 + 1);
            let number = if dice.one_in(24) { dice.below(known + 2) } else { number };
            let by = [DecidedBy::Policy, DecidedBy::BuiltIn, DecidedBy::FailOpen];
            PolicyDecision {
                policy: PolicyNo(number as u16),
                by: by[dice.below(3) as usize],
                fuel: dice.below(200),
                input: u64::from(dice.below(200)) << 40,
            }
        };
        let known = |kind| self.model.policies.iter().any(|policy| policy.0 == kind);
        let mut decided = Decided {
            ask: dice.below(12).saturating_sub(10).into(),
            ..*before.unwrap_or_default()
        };
        decided.refusal = None;
        if dice.one_in(2) && known(PolicyKind::Pricing) {
            decided.pricing = Some(decision(PolicyKind::Pricing, dice));
            let unit = [80, 95][dice.below(2) as usize];
            for line in &mut lines {
                line.price = Some(LinePrice { unit, discount: 0 });
            }
            if dice.one_in(3) && lines.len() < 500 {
                let coupon = Line::new(sku("A"), Quantity::ONE).at(LocationId(1));
                lines.push(coupon.priced(LinePrice { unit: 0, discount: 0 }));
                decided.added += 1;
            }
        }
        if dice.one_in(2) && known(PolicyKind::Fraud) {
            let risks = [Risk::Allow, Risk::Challenge, Risk::Allow, Risk::Review, Risk::Deny];
            let mut fraud = FraudDecision {
                decision: decision(PolicyKind::Fraud, dice),
                risk: risks[dice.below(5) as usize],
                points: dice.below(100) as u16 * 10,
                code: dice.below(9),
            };
            match dice.below(40) {
                37 => fraud.points = 1_001,
                38 => fraud.risk = Risk::Unscored,
                39 => decided.added += 1,
                _ => (),
            }
            decided.fraud = Some(fraud);
        }
        decided.review_ms = [60, 200, 4_000, 0][dice.below(16) as usize % 7 % 4];
        decided.refusal = match dice.below(40) {
            36 => Some(PolicyRefusal::Price(7)),
            37 => Some(PolicyRefusal::Fraud(8)),
            38 => Some(PolicyRefusal::Failed(PolicyNo(1 + dice.below(3) as u16))),
            39 => Some(PolicyRefusal::Quote),
            _ => None,
        };
        (lines, Box::new(decided))
    }
}
