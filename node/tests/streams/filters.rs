//! Filters, asked in all three ways: by `ReadAll`, `Count` and `Any`.

use reckon_api::{Reason, v1};
use tonic::Status;
use v1::filter_term::Kind;

use crate::calls::Calls;
use crate::messages::{
    append, filter, item, not, of_prefix, query, refused, stream, tagged, term, unique, value,
};

/// The streams of a test, what they hold, and the terms that keep to them.
struct Orders {
    prefix: String,
}

impl Orders {
    /// Five events, known by their data.
    async fn appended(calls: &Calls) -> Self {
        let prefix = unique("orders");
        let numbered = |number: u32, event_type: &str, tags: &[&str]| v1::NewEvent {
            data: format!("{{\"number\":{number}}}").into(),
            ..tagged(event_type, tags)
        };
        let request = append(vec![
            stream(
                &format!("{prefix}-1-new"),
                vec![numbered(1, "Placed", &["vip", "eu"]), numbered(2, "Paid", &["eu"])],
            ),
            stream(
                &format!("{prefix}-2-old"),
                vec![numbered(3, "Placed", &["us"]), numbered(4, "Shipped", &[])],
            ),
            stream(&format!("{prefix}-3-new"), vec![numbered(5, "Paid", &["vip"])]),
        ]);
        calls.append(request).await.unwrap();
        Self { prefix }
    }

    /// Asks in all three ways, checks that they agree, and gives the events' numbers.
    async fn ask(&self, calls: &Calls, mut terms: Vec<v1::FilterTerm>) -> Vec<u64> {
        terms.push(of_prefix(&self.prefix));
        let asked = filter(terms);
        let request = v1::ReadAllRequest { filter: asked.clone(), ..v1::ReadAllRequest::default() };
        let (_, events) = calls.read_all(request).await.unwrap();
        let count = v1::CountRequest { filter: asked.clone(), ..v1::CountRequest::default() };
        let counted = calls.count(count).await.unwrap().events;
        assert_eq!(counted, events.len() as u64, "{asked:?}");
        let any = v1::AnyRequest { filter: asked.clone(), ..v1::AnyRequest::default() };
        let any = calls.any(any).await.unwrap();
        assert_eq!(any.position, events.first().map(|event| event.position), "{asked:?}");
        assert_eq!(any.any, !events.is_empty());
        let number = |event: &v1::Event| {
            let data: serde_json::Value = serde_json::from_slice(&event.data).unwrap();
            data["number"].as_u64().unwrap()
        };
        events.iter().map(number).collect()
    }
}

fn types(types: &[&str]) -> Kind {
    Kind::Types(v1::EventTypes { types: types.iter().map(|name| (*name).to_owned()).collect() })
}

fn tags(tags: &[&str], all: bool) -> Kind {
    Kind::Tags(v1::Tags { tags: tags.iter().map(|tag| (*tag).to_owned()).collect(), all })
}

pub async fn every_kind_of_term_and_its_negation_select_the_same_by_read_count_and_any(
    calls: Calls,
) {
    let orders = Orders::appended(&calls).await;
    let prefix = &orders.prefix;
    let text = |text: &str| text.to_owned();
    let table: [(Kind, &[u64]); 13] = [
        (types(&["Paid", "Shipped"]), &[2, 4, 5]),
        (types(&["Unheard-of"]), &[]),
        (tags(&["vip", "us"], false), &[1, 3, 5]),
        (tags(&["vip", "eu"], true), &[1]),
        (Kind::Query(query(vec![item(&["Paid"], &["eu"]), item(&[], &["us"])])), &[2, 3]),
        (Kind::StreamPattern(format!("{prefix}-?-new")), &[1, 2, 5]),
        (Kind::StreamPattern(format!("{prefix}-*-old")), &[3, 4]),
        (Kind::StreamPrefix(format!("{prefix}-3")), &[5]),
        (Kind::StreamSuffix(text("-old")), &[3, 4]),
        (Kind::StreamRegex(text("-[12]-(new|old)$")), &[1, 2, 3, 4]),
        (Kind::Expression(text("event.data.number >= 3 && event.data.number < 5")), &[3, 4]),
        (Kind::Expression(text("event.data.unheard_of == 1")), &[]),
        (Kind::Partition(v1::Partition { index: 0, count: 1 }), &[1, 2, 3, 4, 5]),
    ];
    for (kind, expected) in table {
        let found = orders.ask(&calls, vec![term(kind.clone())]).await;
        assert_eq!(found, expected, "{kind:?}");
        let others: Vec<_> = (1..=5).filter(|number| !expected.contains(number)).collect();
        let found = orders.ask(&calls, vec![not(kind.clone())]).await;
        assert_eq!(found, others, "not {kind:?}");
    }
    let mut shares = Vec::new();
    for index in 0..3 {
        let share = Kind::Partition(v1::Partition { index, count: 3 });
        shares.extend(orders.ask(&calls, vec![term(share)]).await);
    }
    shares.sort_unstable();
    assert_eq!(shares, [1, 2, 3, 4, 5], "every stream is in one share");
}

pub async fn terms_together_must_all_hold(calls: Calls) {
    let orders = Orders::appended(&calls).await;
    let terms = vec![
        term(types(&["Placed", "Paid"])),
        not(tags(&["us"], false)),
        term(Kind::Expression("event.data.number > 1".to_owned())),
    ];
    assert_eq!(orders.ask(&calls, terms).await, [2, 5]);
}

pub async fn a_pattern_or_expression_that_is_none_is_refused_with_its_place(calls: Calls) {
    let check = |answer: Result<(), Status>, reason: Reason| {
        let status = refused(answer, reason);
        value(&status, "offset").parse::<usize>().expect("an offset is a number");
        assert!(value(&status, "field").starts_with("filter.terms[0]"), "{status:?}");
    };
    for (kind, reason) in [
        (Kind::StreamPattern("orders-\\".to_owned()), Reason::InvalidPattern),
        (Kind::StreamRegex("orders-(".to_owned()), Reason::InvalidPattern),
        (Kind::Expression("event.data.number >".to_owned()), Reason::InvalidExpression),
        (Kind::Expression("1 + 1".to_owned()), Reason::InvalidExpression),
    ] {
        let asked = filter(vec![term(kind)]);
        let read = v1::ReadAllRequest { filter: asked.clone(), ..v1::ReadAllRequest::default() };
        check(calls.read_all(read).await.map(|_| ()), reason);
        let count = v1::CountRequest { filter: asked.clone(), ..v1::CountRequest::default() };
        check(calls.count(count).await.map(|_| ()), reason);
        let any = v1::AnyRequest { filter: asked, ..v1::AnyRequest::default() };
        check(calls.any(any).await.map(|_| ()), reason);
    }
}
