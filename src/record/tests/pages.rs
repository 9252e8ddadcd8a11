//! Pages and ranges of an index.

use super::*;

#[test]
fn pages_of_an_index_meet_without_gap_or_overlap_in_both_directions() {
    let (_, store) = store();
    for number in 0..20 {
        let kind = if number % 2 == 0 { "even" } else { "odd" };
        insert(&store, &Tag { kind: Some(kind.into()), weight: number / 4, ..tag(&format!("t{number:02}")) }).unwrap();
    }
    for direction in [Direction::Ascending, Direction::Descending] {
        for limit in [1, 2, 3, 7, 10, 50] {
            let names = store.read(|view| {
                let (mut names, mut after) = (Vec::new(), None);
                loop {
                    let odd = KeyWriter::new().str("odd");
                    let page = view.index_page(&BY_KIND, odd, direction, after.as_deref(), limit)?;
                    assert!(page.entries.len() <= limit);
                    names.extend(page.entries.into_iter().map(|entry| String::from_utf8(entry.primary).unwrap()));
                    after = page.resume;
                    if after.is_none() {
                        return Ok(names);
                    }
                }
            });
            let mut expected = ["t17", "t19", "t13", "t15", "t09", "t11", "t05", "t07", "t01", "t03"];
            if direction == Direction::Descending {
                expected.reverse();
            }
            assert_eq!(names.unwrap(), expected);
        }
    }
}

#[test]
fn bounds_of_a_range_take_in_or_leave_out_every_entry_that_begins_with_them() {
    let (_, store) = store();
    for (name, kind, weight) in [("1", "a", 0), ("2", "a", 7), ("3", "b", 0), ("4", "c", 0), ("5", "c", 1)] {
        insert(&store, &Tag { kind: Some(kind.into()), weight, ..tag(name) }).unwrap();
    }
    let names = |start: Bound<&str>, end: Bound<&str>| {
        let at = |kind: &str| KeyWriter::new().str(kind).finish();
        let range = KeyRange { start: start.map(at), end: end.map(at) };
        let page = store.read(|view| view.index_range(&BY_KIND, range.clone(), Direction::Ascending, None, 100));
        page.unwrap().entries.iter().map(|entry| String::from_utf8(entry.primary.clone()).unwrap()).collect::<String>()
    };
    use Bound::*;
    assert_eq!(names(Unbounded, Unbounded), "21354");
    assert_eq!(names(Included("a"), Included("b")), "213");
    assert_eq!(names(Excluded("a"), Excluded("c")), "3");
    assert_eq!(names(Excluded("a"), Included("c")), "354");
    assert_eq!(names(Included("c"), Unbounded), "54");
    assert_eq!(names(Excluded("c"), Excluded("a")), "");
}

#[test]
fn an_entry_of_another_query_does_not_continue_this_one() {
    let (_, store) = store();
    insert(&store, &Tag { kind: Some("a".into()), ..tag("1") }).unwrap();
    let outcome = store.read(|view| {
        let page = view.index_page(&BY_KIND, KeyWriter::new(), Direction::Ascending, None, 1)?;
        let parts = &page.entries[0].parts;
        assert_eq!(KeyReader::new(parts).str()?, "a");
        let b = KeyWriter::new().str("b");
        view.index_page(&BY_KIND, b, Direction::Ascending, Some(&page.entries[0].entry), 1)
    });
    assert_eq!(kind_of(outcome), ErrorKind::Invalid);
}
