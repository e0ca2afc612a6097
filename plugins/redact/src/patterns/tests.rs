use super::*;

/// The text with each match of a pattern in brackets.
fn marked(pattern: Pattern, text: &str) -> String {
    let mut matches = Vec::new();
    let found = |at: Range<usize>| matches.push(at);
    match pattern {
        Pattern::Card => card::find(text, found),
        Pattern::Email => email::find(text, found),
        Pattern::Phone => phone::find(text, found),
        Pattern::Ip => ip::find(text, found),
        Pattern::Iban => iban::find(text, found),
    }
    let mut marked = text.to_owned();
    for at in matches.iter().rev() {
        marked.insert(at.end, ']');
        marked.insert(at.start, '[');
    }
    marked
}

fn check(pattern: Pattern, expected: &[&str]) {
    for expected in expected {
        let text = expected.replace(['[', ']'], "");
        assert_eq!(marked(pattern, &text), **expected);
    }
}

#[test]
fn card_numbers() {
    check(
        Pattern::Card,
        &[
            "[4111111111111111]",
            "a Visa [4111 1111 1111 1111], an Amex [3782-822463-10005]",
            "Diners [30569309025904]; 19 digits: [6304000000000000000]",
            "PAN[5555555555554444]EUR",
            "with wide gaps [4111 - 1111 - 1111 - 1111]",
            "[4111\u{a0}1111\u{a0}1111\u{a0}1111]",
            "order 77 [4111 1111 1111 1111] 12/29",
            "by the formula wrong: 4111111111111112",
            "too short: 411111111111; within a longer run: 99941111111111111119999",
            "",
        ],
    );
}

/// The check digit is one of ten, wherever it stands.
#[test]
fn one_of_ten_last_digits_is_right() {
    for prefix in ["411111111111111", "37828224631000", "123456789012", "900000000000000000"] {
        let right = (0..10)
            .filter(|digit| marked(Pattern::Card, &format!("{prefix}{digit}")).starts_with('['));
        assert_eq!(right.count(), 1, "{prefix}");
    }
}

#[test]
fn email_addresses() {
    check(
        Pattern::Email,
        &[
            "[a@b.de]",
            "Mail [first.last+tag@mail.some-host.org], please.",
            "<[x_1@example.com]>; [y@example.co.uk].",
            "https://h/?y=2&mail=[jane%40example.com]&x=1",
            "[bounces+7-jane=example.com@lists.org]",
            "… ...[a@b.de]... and user:[secret@host.org]",
            "[\"john doe\"@example.com]",
            "[jörg@müller.de]",
            "mailto:[a@b.io]?subject=x",
            "[a@b.de],[c@d.de]",
            "no address: @home, a@b, a@.de, a@b.c, 50%40 off, @",
            "",
        ],
    );
}

#[test]
fn telephone_numbers() {
    check(
        Pattern::Phone,
        &[
            "[+49 30 1234567]",
            "call [+1 (212) 555-0100] or [0049 171 1234567]!",
            "[+44 (0) 20 7946 0958] is in London",
            "[0171/1234567], [030 1234567] und [(030) 1234567]",
            "[(212) 555-0100], [212-555-0100], [212.555.0100], [1-212-555-0100]",
            "tel:[+4930123456]",
            "[+49 171 1234567] 2026",
            "no number: 2026-03-01, 01.02.2026, 01/02/2026 10:30, 0.1234567, 12:30:45, 08:26:00",
            "no number: 1234567890, 112, 123-456, x0171234567, 3.0171234567, 12345-0171-2345",
            "no number: 0171234567x, 550e8400-0412-41d4-a716-446655440000",
            "",
        ],
    );
}

#[test]
fn ip_addresses() {
    check(
        Pattern::Ip,
        &[
            "[192.168.0.1]",
            "from [10.0.0.1]:8080 to [255.255.255.255].",
            "[2001:db8::1], [fe80::1]%eth0, ([::1]), [::ffff:7f00:1]/96",
            "addr:[fe80::1] and [2001:db8:0:0:1:2:3:4]:443",
            "no address: 1.2.3, 1.2.3.4.5, 256.1.1.1, 12:30:45, aa:bb:cc:dd:ee:ff, std::io, ::",
            "",
        ],
    );
    assert_eq!(marked(Pattern::Ip, "http://[2001:db8::1]:80/"), "http://[[2001:db8::1]]:80/");
}

#[test]
fn ibans() {
    check(
        Pattern::Iban,
        &[
            "[DE89370400440532013000]",
            "IBAN: [DE89 3704 0044 0532 0130 00], BIC",
            "[GB82 WEST 1234 5698 7654 32] und [gb82west12345698765432]",
            "[NO93 8601 1117 947]; [MT84MALT011000012345MTLCAST001S]",
            "[DE89 3704 0044 0532 0130 00] is mine",
            "wrong: DE88370400440532013000, DE8937040044053201300, XDE89370400440532013000",
            "",
        ],
    );
}

fn finder(patterns: &[Pattern]) -> Finder {
    let replace = |pattern: &Pattern| (*pattern, Action::Replace(format!("<{}>", pattern.name())));
    Finder::new(patterns.iter().map(replace).collect())
}

#[test]
fn all_that_overlapping_matches_cover_goes_by_the_first_pattern() {
    let text = "pay +4111111111111111 now";
    let mut out = String::new();
    let found = finder(&[Pattern::Card, Pattern::Phone]).redact(text, &mut out);
    assert_eq!((&*out, found), ("pay +<card> now", Found(1)), "16 digits are no telephone number");

    out.clear();
    let text = "::ffff:10.0.0.1 4111 1111 1111 1111";
    let found = finder(&[Pattern::Ip, Pattern::Card]).redact(text, &mut out);
    assert_eq!((&*out, found), ("<ip> <card>", Found(0b11)), "version 4 inside version 6");

    out.clear();
    let text = "0041 1111 1111 1111 116";
    let both = finder(&[Pattern::Phone, Pattern::Card]);
    let found = both.redact(text, &mut out);
    assert!(found.has(0), "{out}");
}

#[test]
fn a_text_without_a_match_is_not_copied() {
    let mut out = String::new();
    let all = [Pattern::Card, Pattern::Email, Pattern::Phone, Pattern::Ip, Pattern::Iban];
    for text in ["", "plain", "größe 12, 3.5 % @ 7:30", "1234567890123456"] {
        assert!(finder(&all).redact(text, &mut out).is_empty(), "{text}");
        assert_eq!(out, "");
    }
}

/// What a pattern is not looked for in, for want of a hint, it would not be found in.
#[test]
fn hints_hide_nothing() {
    let pieces = [
        "4111111111111111",
        " ",
        "@",
        "a.de",
        "%40",
        "::",
        "1",
        ".",
        "10.0.0.1",
        "+49",
        "DE89",
        "é",
    ];
    let all = [Pattern::Card, Pattern::Email, Pattern::Phone, Pattern::Ip, Pattern::Iban];
    let mut seed = 7_u64;
    let mut below = move |limit: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize % limit
    };
    let mut hidden = 0;
    for _ in 0..50_000 {
        let text: String = (0..below(7)).map(|_| pieces[below(pieces.len())]).collect();
        for pattern in all {
            if !Hints::of(&text).allow(pattern) {
                assert_eq!(marked(pattern, &text), text, "{pattern:?}");
                hidden += 1;
            }
        }
    }
    assert!(hidden > 50_000);
}
