-- One order, all or nothing: duplicate check by primary key, limit per customer, stock, record.
CREATE TABLE stock (sku int PRIMARY KEY, units bigint NOT NULL CHECK (units >= 0))
    WITH (fillfactor = 50);
CREATE TABLE customers (sku int, customer bigint, units int NOT NULL, PRIMARY KEY (sku, customer));
CREATE TABLE orders (id bigint PRIMARY KEY, customer bigint NOT NULL, sku int NOT NULL,
    quantity int NOT NULL, total bigint NOT NULL);
INSERT INTO stock VALUES (1, 1000000000);

CREATE FUNCTION place(the_order bigint, the_customer bigint, the_sku int, most int)
RETURNS int LANGUAGE plpgsql AS $$
DECLARE had int;
BEGIN
    INSERT INTO orders VALUES (the_order, the_customer, the_sku, 1, 1299) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN RETURN 2; END IF;
    INSERT INTO customers AS c VALUES (the_sku, the_customer, 1)
        ON CONFLICT (sku, customer) DO UPDATE SET units = c.units + 1 RETURNING units INTO had;
    IF had > most THEN RAISE EXCEPTION 'limit exceeded'; END IF;
    UPDATE stock SET units = units - 1 WHERE sku = the_sku AND units >= 1;
    IF NOT FOUND THEN RAISE EXCEPTION 'sold out'; END IF;
    RETURN 1;
END $$;
