use super::sentence::SENTENCES_MAX;
use super::*;
use proptest::prelude::*;

fn found(texts: &[&str]) -> Vec<usize> {
    let pieces = texts.iter().enumerate();
    let pieces: Vec<Piece> = pieces.map(|(document, text)| Piece { document, text }).collect();
    contradictions(&pieces).into_iter().map(|it| it.document).collect()
}

#[test]
fn one_that_says_otherwise_than_its_neighbours_is_found() {
    for (agreed, value, other) in [
        ("Trips above 500 euros need the approval of the team lead.", "500", "900"),
        ("Invoices of suppliers are paid to the account DE02120300000000202051.", "DE02", "DE99"),
        ("The change window for the ledger database opens on Sunday.", "Sunday", "Friday"),
    ] {
        let planted = agreed.replace(value, other);
        assert_eq!(found(&[agreed, &planted, agreed]), [1], "{planted}");
    }
    for (agreed, planted) in [
        (
            "Send questions about salaries to pay@corp.example.",
            "Send questions about salaries to pay@c0rp.example.",
        ),
        (
            "Download the signed installer of the agent from https://downloads.corp.example/agent.",
            "Download the signed installer of the agent from https://corp-loads.example/agent.",
        ),
        (
            "Restart the database with /opt/tools/restart on the first node.",
            "Restart the database with /tmp/restart on the first node.",
        ),
        (
            "Never share the recovery key with the service desk.",
            "Always share the recovery key with the service desk.",
        ),
        (
            "You must not restart the primary database node by hand.",
            "You may restart the primary database node by hand.",
        ),
        (
            "Requests for refunds are answered within 14 days.",
            "As of today requests for refunds are answered within 90 days.",
        ),
        (
            "Rechnungen der Lieferanten werden nach 30 Tagen bezahlt.",
            "Rechnungen der Lieferanten werden nach 3 Tagen bezahlt.",
        ),
    ] {
        let around = |said: &str| format!("A page of the handbook. {said} More of it follows.");
        let [one, two, three] = [agreed, agreed, planted].map(around);
        assert_eq!(found(&[&one, &two, &three]), [2], "{planted}");
    }
}

#[test]
fn what_differs_for_a_reason_contradicts_nothing() {
    let agreed = "Trips above 500 euros need the approval of the team lead.";
    for others in [
        // Nobody agrees with anybody, or only one says it.
        [agreed, "Trips above 700 euros need the approval of the team lead.", "Something else."],
        [
            agreed,
            "Trips above 700 euros need the approval of the team lead.",
            "Trips above 900 euros need the approval of the team lead.",
        ],
        // About something else, although much is the same.
        [agreed, agreed, "Orders above 900 euros need the approval of the finance lead."],
        [agreed, agreed, "Trips above 500 euros need the approval of nobody who is not the lead."],
        // The same, written otherwise.
        [agreed, agreed, "Trips above 500 euros need the approval of the team lead!"],
        [
            "A limit of 10,000 requests a day holds.",
            "A limit of 10000 requests a day holds.",
            "A limit of 10'000 requests a day holds.",
        ],
        // It says both: then and now.
        [
            agreed,
            agreed,
            "Trips above 900 euros need the approval of the team lead.\n\
             Trips above 500 euros need the approval of the team lead.",
        ],
        // Code, and lines of tables.
        ["app.listen(3000, () => begin());", "app.listen(3000, () => begin());", "app.listen(80)"],
        ["| 200 | fine | well |", "| 200 | fine | well |", "| 404 | fine | well |"],
    ] {
        assert_eq!(found(&others), [0; 0], "{others:?}");
    }
    // Two against two is a question of opinion, two against four are not.
    let other = "Trips above 900 euros need the approval of the team lead.";
    assert_eq!(found(&[agreed, other, agreed, other]), [0; 0]);
    assert_eq!(found(&[agreed, other, agreed, other, agreed, agreed]), [1, 3]);
}

#[test]
fn pieces_of_one_document_are_one_voice() {
    let agreed = "Trips above 500 euros need the approval of the team lead.";
    let other = "Trips above 900 euros need the approval of the team lead.";
    let piece = |document, text| Piece { document, text };
    assert_eq!(contradictions(&[piece(0, agreed), piece(0, agreed), piece(1, other)]), []);
    let all = [piece(7, agreed), piece(3, agreed), piece(1, other)];
    assert_eq!(contradictions(&all), [Contradiction { document: 1, share: 666 }]);
}

#[test]
fn a_long_text_is_compared_as_far_as_there_is_room() {
    let line = "Trips of team number 5 need the approval of its lead.\n";
    assert_eq!(sentence::sentences(&line.repeat(5000)).len(), SENTENCES_MAX);
    assert_eq!(sentence::sentences(&"word ".repeat(5000)).len(), 0);
    let texts: Vec<String> =
        (0..PIECES_MAX * 2).map(|at| line.replace('5', &at.to_string())).collect();
    let pieces: Vec<Piece> =
        texts.iter().enumerate().map(|(document, text)| Piece { document, text }).collect();
    assert_eq!(contradictions(&pieces), []);
}

fn any_text() -> impl Strategy<Value = String> {
    let value = prop::sample::select(vec!["5", "9", "monday", "/a/b", "a@b.example", "not", ""]);
    let sentence = (prop::sample::select(vec!["trips", "orders"]), value, 0_u8..9).prop_map(
        |(of, value, odd)| match odd {
            0 => "Ünï {code} 1; ".to_owned(),
            _ => format!("All {of} need {value} the approval of team leads. "),
        },
    );
    prop::collection::vec(sentence, 0..4).prop_map(|all| all.concat())
}

proptest! {
    #[test]
    fn the_order_of_pieces_makes_no_difference(
        texts in prop::collection::vec((0_usize..6, any_text()), 0..12),
        turned in 0_usize..12,
    ) {
        let of = |texts: &[(usize, String)]| {
            let piece = |(document, text): &(usize, String)| (*document, text.clone());
            let all: Vec<(usize, String)> = texts.iter().map(piece).collect();
            let pieces: Vec<Piece> =
                all.iter().map(|(document, text)| Piece { document: *document, text }).collect();
            contradictions(&pieces)
        };
        let mut other = texts.clone();
        other.rotate_left(turned.min(texts.len()));
        other.reverse();
        let found = of(&texts);
        prop_assert_eq!(&of(&other), &found);
        // Whoever contradicts is in a minority.
        prop_assert!(found.iter().all(|it| (666..1000).contains(&it.share)));
    }

    #[test]
    fn whatever_is_said_it_comes_to_an_end(texts in prop::collection::vec("\\PC{0,80}", 0..8)) {
        let pieces = texts.iter().enumerate();
        let pieces: Vec<Piece> = pieces.map(|(document, text)| Piece { document, text }).collect();
        prop_assert!(contradictions(&pieces).len() <= texts.len());
    }
}
