INSERT INTO customers VALUES
    (1, 'Ada', 'ada@example.com', 'GB', TRUE, '2023-01-15', 'acme', 'GB01'),
    (2, 'Bo', 'bo@example.org', 'SE', FALSE, '2023-03-02', 'acme', 'SE02'),
    (3, 'Chen', 'chen@example.net', 'CN', TRUE, '2023-06-30', 'other', 'CN03'),
    (4, 'Dara', NULL, 'IE', FALSE, '2024-02-29', 'acme', 'IE04'),
    (5, 'O''Neil', 'oneil@example.com', 'IE', FALSE, '2024-05-05', 'other', 'IE05');
INSERT INTO orders VALUES
    (10, 1, 500, 'paid', '2024-01-05', 'gift', 'acme'),
    (11, 1, 1500, 'paid', '2024-02-10', NULL, 'acme'),
    (12, 2, 700, 'open', '2024-02-11', '42', 'acme'),
    (13, 3, 9000, 'paid', '2024-03-01', 'not a number', 'other'),
    (14, 4, 100, 'void', '2024-03-15', 'late', 'acme'),
    (15, 5, 300, 'open', '2024-04-01', 'rush', 'other'),
    (16, 2, 250, 'paid', '2024-04-20', NULL, 'acme'),
    (17, 9, 50, 'open', '2024-05-01', 'orphan', 'acme');
INSERT INTO items VALUES
    (10, 'pen', 2, 1), (10, 'ink', 1, 2), (11, 'desk', 1, 3), (12, 'pen', 7, 1),
    (13, 'ship', 1, 9), (14, 'cup', 1, 1), (16, 'ink', 5, 2), (17, 'cup', 3, 1);
INSERT INTO secrets VALUES (1, 'the combination is 12345');
