CREATE DATABASE shop;
USE shop;
CREATE TABLE parts (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(40) NOT NULL, price DECIMAL(10, 2) NOT NULL, INDEX (price)) ENGINE=InnoDB;
INSERT INTO parts (name, price) SELECT CONCAT('part ', seq), seq * 1.25 FROM seq_1_to_10000;
SELECT COUNT(*), SUM(price) FROM parts WHERE price > 5000;
