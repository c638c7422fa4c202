CREATE TABLE parts (id serial PRIMARY KEY, name text NOT NULL, price numeric NOT NULL);
INSERT INTO parts (name, price) SELECT 'part ' || n, n * 1.25 FROM generate_series(1, 10000) AS n;
CREATE INDEX ON parts (price);
SELECT count(*), sum(price) FROM parts WHERE price > 5000;
