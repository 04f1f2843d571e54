-- A shop in PostgreSQL: every request is one transaction that locks the rows of its SKUs.
-- Codes of answers: 0 done, 1 sold out, 2 limit reached, 3 no such order, 4 reservation expired,
-- 5 wrong state, 6 no such SKU.
CREATE SEQUENCE positions;
CREATE TABLE skus (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, code text NOT NULL UNIQUE,
    price bigint NOT NULL, most int NOT NULL,
    available bigint NOT NULL DEFAULT 0 CHECK (available >= 0),
    reserved bigint NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    committed bigint NOT NULL DEFAULT 0 CHECK (committed >= 0),
    -- Position of the last change.
    seq bigint NOT NULL) WITH (fillfactor = 50);
CREATE TABLE held (sku int, customer text, units bigint NOT NULL, PRIMARY KEY (sku, customer))
    WITH (fillfactor = 50);
CREATE TABLE supplies (seq bigint PRIMARY KEY, sku int NOT NULL, units bigint NOT NULL,
    made bigint NOT NULL);
-- An order bears the position that made it as its number, and the key of its request.
CREATE TABLE orders (
    id bigint PRIMARY KEY, key text NOT NULL UNIQUE, customer text NOT NULL, state text NOT NULL,
    skus int[] NOT NULL, units bigint[] NOT NULL, total bigint NOT NULL, made bigint NOT NULL,
    deadline bigint NOT NULL, bought boolean NOT NULL, seq bigint NOT NULL) WITH (fillfactor = 80);
CREATE INDEX due ON orders (deadline) WHERE state = 'reserved';
CREATE TABLE changes (seq bigint PRIMARY KEY, order_id bigint NOT NULL, kind text NOT NULL,
    made bigint NOT NULL, key text UNIQUE);

CREATE TYPE answer AS (code int, order_id bigint, seq bigint, replayed int, line int, found bigint,
    total bigint, deadline bigint);

CREATE FUNCTION now_ms() RETURNS bigint LANGUAGE sql VOLATILE AS
    $$ SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint $$;

CREATE FUNCTION take(the_key text, the_customer text, ttl bigint, codes text[], asked bigint[],
    buys boolean) RETURNS answer LANGUAGE plpgsql AS $$
DECLARE
    one skus%ROWTYPE; old orders%ROWTYPE; had bigint; ids int[] := '{}'; cost bigint := 0;
    place bigint; at_ms bigint; until bigint := 0;
BEGIN
    -- In one order everywhere, so that no two baskets wait for each other.
    IF cardinality(codes) > 1 THEN
        PERFORM 1 FROM skus WHERE code = ANY (codes) ORDER BY id FOR UPDATE;
    ELSE
        PERFORM 1 FROM skus WHERE code = codes[1] FOR UPDATE;
    END IF;
    -- After the lock: the same request may just have been carried out.
    SELECT * INTO old FROM orders WHERE key = the_key;
    IF FOUND THEN
        RETURN (0, old.id, old.id, 1, 0, 0, old.total, old.deadline)::answer;
    END IF;
    FOR n IN 1 .. cardinality(codes) LOOP
        SELECT * INTO one FROM skus WHERE code = codes[n];
        IF NOT FOUND THEN RETURN (6, 0, 0, 0, n - 1, 0, 0, 0)::answer; END IF;
        IF one.most > 0 AND the_customer <> '' THEN
            SELECT units INTO had FROM held WHERE sku = one.id AND customer = the_customer;
            had := coalesce(had, 0);
            IF had + asked[n] > one.most THEN
                RETURN (2, 0, one.seq, 0, n - 1, one.most - had, 0, 0)::answer;
            END IF;
        END IF;
        IF one.available < asked[n] THEN
            RETURN (1, 0, one.seq, 0, n - 1, one.available, 0, 0)::answer;
        END IF;
        ids := ids || one.id;
        cost := cost + one.price * asked[n];
    END LOOP;
    place := nextval('positions');
    at_ms := now_ms();
    FOR n IN 1 .. cardinality(ids) LOOP
        UPDATE skus SET available = available - asked[n], seq = place,
            committed = committed + CASE WHEN buys THEN asked[n] ELSE 0 END,
            reserved = reserved + CASE WHEN buys THEN 0 ELSE asked[n] END WHERE id = ids[n];
        IF the_customer <> '' THEN
            INSERT INTO held AS h VALUES (ids[n], the_customer, asked[n])
                ON CONFLICT (sku, customer) DO UPDATE SET units = h.units + asked[n];
        END IF;
    END LOOP;
    IF NOT buys THEN until := at_ms + ttl; END IF;
    INSERT INTO orders VALUES (place, the_key, the_customer,
        CASE WHEN buys THEN 'placed' ELSE 'reserved' END, ids, asked, cost, at_ms, until, buys,
        place);
    RETURN (0, place, place, 0, 0, 0, cost, until)::answer;
END $$;

-- Moves the units of an order; the caller has locked its row and those of its SKUs.
CREATE FUNCTION move(o orders, the_kind text, the_key text, at_ms bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE place bigint;
BEGIN
    place := nextval('positions');
    UPDATE skus s SET seq = place,
        available = available + CASE WHEN the_kind = 'placed' THEN 0 ELSE l.units END,
        reserved = reserved - CASE WHEN the_kind = 'cancelled' THEN 0 ELSE l.units END,
        committed = committed + CASE the_kind
            WHEN 'placed' THEN l.units WHEN 'cancelled' THEN -l.units ELSE 0 END
        FROM unnest(o.skus, o.units) AS l (sku, units) WHERE s.id = l.sku;
    IF the_kind <> 'placed' AND o.customer <> '' THEN
        UPDATE held h SET units = h.units - l.units
            FROM unnest(o.skus, o.units) AS l (sku, units)
            WHERE h.sku = l.sku AND h.customer = o.customer;
    END IF;
    UPDATE orders SET state = the_kind, seq = place WHERE id = o.id;
    INSERT INTO changes VALUES (place, o.id, the_kind, at_ms, the_key);
    RETURN place;
END $$;

CREATE FUNCTION change(the_key text, the_order bigint, from_state text, the_kind text)
RETURNS answer LANGUAGE plpgsql AS $$
DECLARE o orders%ROWTYPE; old changes%ROWTYPE; place bigint; at_ms bigint;
BEGIN
    SELECT * INTO o FROM orders WHERE id = the_order FOR UPDATE;
    IF NOT FOUND THEN RETURN (3, 0, 0, 0, 0, 0, 0, 0)::answer; END IF;
    SELECT * INTO old FROM changes WHERE key = the_key;
    IF FOUND THEN RETURN (0, o.id, old.seq, 1, 0, 0, 0, 0)::answer; END IF;
    IF from_state = 'reserved' AND o.state = 'expired' THEN
        RETURN (4, 0, o.seq, 0, 0, 0, 0, 0)::answer;
    END IF;
    IF o.state <> from_state THEN RETURN (5, 0, o.seq, 0, 0, 0, 0, 0)::answer; END IF;
    PERFORM 1 FROM skus WHERE id = ANY (o.skus) ORDER BY id FOR UPDATE;
    -- After the wait for the locks: a payment that was in time when it came may be late by now.
    at_ms := now_ms();
    -- It is over, though nobody has given its units back yet; no position says so.
    IF from_state = 'reserved' AND o.deadline <= at_ms THEN
        RETURN (4, 0, 0, 0, 0, 0, 0, 0)::answer;
    END IF;
    place := move(o, the_kind, the_key, at_ms);
    RETURN (0, o.id, place, 0, 0, 0, 0, 0)::answer;
END $$;

-- Ends reservations that are due. Nobody is told of it, and it is found again after a crash, so its
-- commit need not wait for the disk; whoever buys the units commits after it, and waits.
CREATE FUNCTION expire() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE o orders%ROWTYPE; due bigint[];
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    SELECT array_agg(d.id) INTO due FROM (SELECT id FROM orders
        WHERE state = 'reserved' AND deadline <= now_ms()
        ORDER BY deadline LIMIT 100 FOR UPDATE SKIP LOCKED) d;
    IF due IS NULL THEN RETURN 0; END IF;
    -- All at once and in one order, so that nobody waits crosswise.
    PERFORM 1 FROM skus WHERE id IN (SELECT unnest(skus) FROM orders WHERE id = ANY (due))
        ORDER BY id FOR UPDATE;
    FOR o IN SELECT * FROM orders WHERE id = ANY (due) ORDER BY deadline LOOP
        PERFORM move(o, 'expired', NULL, now_ms());
    END LOOP;
    RETURN cardinality(due);
END $$;

CREATE FUNCTION receive(the_code text, the_units bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE place bigint; the_sku int;
BEGIN
    SELECT id INTO the_sku FROM skus WHERE code = the_code FOR UPDATE;
    place := nextval('positions');
    UPDATE skus SET available = available + the_units, seq = place WHERE id = the_sku;
    INSERT INTO supplies VALUES (place, the_sku, the_units, now_ms());
    RETURN place;
END $$;

CREATE VIEW events AS
    SELECT seq, 'received' AS kind, made, 0::bigint AS order_id, 0::bigint AS deadline,
        0::bigint AS total, ARRAY[sku] AS skus, ARRAY[units] AS units FROM supplies
    UNION ALL
    SELECT id, CASE WHEN bought THEN 'bought' ELSE 'reserved' END, made, id, deadline, total, skus,
        units FROM orders
    UNION ALL
    SELECT c.seq, c.kind, c.made, o.id, 0, 0, o.skus, o.units
        FROM changes c JOIN orders o ON o.id = c.order_id;
