//! What is refused: typed, by name, and with nothing changed.

use ml_persistence::{
    Collection, ErrorKind, MlPersistence, OldRecord, Query, Record, Result, Schema, Timestamp, asc, desc,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Post {
    pub slug: String,
    pub kind: String,
    pub created: Timestamp,
    pub parent: Option<String>,
    pub body: String,
}

pub fn post(slug: &str, kind: &str, created: u64) -> Post {
    Post { slug: slug.into(), kind: kind.into(), created: Timestamp(created), parent: None, body: String::new() }
}

fn fields() -> Schema<Post> {
    Schema::new()
        .field("slug", |post: &Post| post.slug.clone())
        .field("kind", |post| post.kind.clone())
        .field("created", |post| post.created)
        .field("parent", |post| post.parent.clone())
}

impl Record for Post {
    const COLLECTION: &'static str = "posts";
    type Key = String;

    fn key(&self) -> String {
        self.slug.clone()
    }

    fn schema() -> Schema<Self> {
        fields()
            .index("kind_created", [asc("kind"), desc("created")])
            .sparse("by_parent", ["parent"])
            .count_by("kinds", ["kind"])
    }
}

fn store() -> (MlPersistence, Collection<Post>) {
    let db = MlPersistence::in_memory().open().expect("a store in memory");
    let posts = db.collection::<Post>().expect("a collection");
    (db, posts)
}

fn refused<T>(outcome: Result<T>, kind: ErrorKind, says: &str) {
    let error = outcome.err().expect("a refusal");
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(says), "`{error}` does not say `{says}`");
}

/// Runs `call`, which is refused, and looks whether anything came of it.
fn refused_alone<T>(db: &MlPersistence, call: impl FnOnce() -> Result<T>, kind: ErrorKind, says: &str) {
    let before = db.digest().expect("a digest");
    refused(call(), kind, says);
    assert_eq!(db.digest().expect("a digest"), before, "{says}");
    assert_eq!(db.verify().expect("a sweep").violations, []);
}

#[test]
fn keys_and_values_beyond_their_limits_are_refused_and_nothing_is_written() {
    let (db, posts) = store();
    posts.save(post("a", "x", 1)).expect("a save");
    let long_key = "k".repeat(767);
    refused_alone(&db, || posts.save(post(&long_key, "x", 1)), ErrorKind::Invalid, "key of posts: at most 768 bytes");
    let long_kind = "k".repeat(10_000);
    refused_alone(&db, || posts.save(post("a", &long_kind, 1)), ErrorKind::Invalid, "index kind_created");
    let large = Post { body: "b".repeat(17 << 20), ..post("a", "x", 1) };
    refused_alone(&db, || posts.save(large.clone()), ErrorKind::Invalid, "value");
    // What fits: the longest key, a long text that no index holds, and one that is asked for but can't be there.
    posts.save(Post { body: "b".repeat(100_000), ..post(&"k".repeat(766), "x", 1) }).expect("a save");
    assert_eq!(posts.list(&Query::new().eq("kind", long_kind)).expect("a list").rows.len(), 0);
}

#[test]
fn a_conflicting_revision_is_refused_and_says_which_it_expected() {
    let (db, posts) = store();
    posts.save(post("a", "x", 1)).expect("a save");
    posts.save(post("a", "x", 2)).expect("a save");
    let says = "expected revision 1, found 2";
    refused_alone(&db, || posts.update(post("a", "y", 1), 1), ErrorKind::Conflict, says);
    refused_alone(&db, || posts.update(post("b", "y", 1), 1), ErrorKind::NotFound, "posts `b");
    refused_alone(&db, || posts.insert(post("a", "y", 1)), ErrorKind::AlreadyExists, "posts `a");
    let late = || db.transact(|txn| txn.collection::<Post>()?.delete_revision("a", 1));
    refused_alone(&db, late, ErrorKind::Conflict, says);
    assert_eq!(posts.update(post("a", "y", 1), 2).expect("an update").revision, 3);
}

#[test]
fn a_query_that_no_index_serves_names_the_index_to_declare() {
    let (_db, posts) = store();
    let ask = |query: Query| posts.list(&query);
    let declare = |parts: &str| format!("declare .index(\"…\", [{parts}])");
    refused(ask(Query::new().eq("created", Timestamp(1))), ErrorKind::Unsupported, &declare("\"created\""));
    let mixed = Query::new().order_by("kind").order_by("created");
    refused(ask(mixed), ErrorKind::Unsupported, &declare("\"kind\", \"created\""));
    let two = Query::new().eq("slug", "a").gt("created", Timestamp(1)).order_by(desc("created"));
    refused(ask(two), ErrorKind::Unsupported, &declare("\"slug\", desc(\"created\")"));
    let ranges = Query::new().gt("kind", "a").gt("created", Timestamp(1));
    refused(ask(ranges), ErrorKind::Unsupported, "no single index");
    let named = Query::index("by_parent").eq("kind", "a");
    refused(ask(named), ErrorKind::Unsupported, "index by_parent does not serve");
    // A sparse index does not answer for what it leaves out, unless it is named.
    refused(ask(Query::new().order_by("parent")), ErrorKind::Unsupported, &declare("\"parent\""));
    assert!(ask(Query::new().eq("parent", "a")).is_ok() && ask(Query::index("by_parent")).is_ok());
    assert!(ask(Query::new().order_by("kind").order_by(desc("created")).descending()).is_ok());
}

#[test]
fn fields_types_limits_and_indexes_that_do_not_exist_are_named() {
    let (_db, posts) = store();
    let ask = |query: Query| posts.list(&query);
    refused(ask(Query::new().eq("nothing", 1)), ErrorKind::Invalid, "nothing: posts has no such field");
    refused(ask(Query::index("nothing")), ErrorKind::Invalid, "posts has no nothing");
    refused(ask(Query::new().eq("kind", 1)), ErrorKind::Invalid, "kind: holds str, asked with i32");
    refused(ask(Query::new().starts_with("created", "a")), ErrorKind::Invalid, "created: holds timestamp");
    refused(ask(Query::new().eq("kind", "a").eq("kind", "b")), ErrorKind::Invalid, "kind: its conditions");
    for limit in [0, 1_001] {
        refused(ask(Query::new().limit(limit)), ErrorKind::Invalid, "limit: 1..=1000");
    }
    refused(posts.count_by("nothing", "a"), ErrorKind::Invalid, "counter: posts has no nothing");
    refused(posts.count_by("kinds", 1), ErrorKind::Invalid, "kind: holds str");
    refused(posts.distinct::<u64>("kinds"), ErrorKind::Invalid, "counter kinds: groups are str");
}

#[test]
fn a_page_token_is_good_for_its_own_query_only_and_not_when_altered() {
    let (_db, posts) = store();
    for (place, slug) in ["a", "b", "c", "d"].into_iter().enumerate() {
        posts.save(post(slug, "x", place as u64)).expect("a save");
    }
    let query = Query::new().eq("kind", "x").limit(1);
    let token = posts.list(&query).expect("a list").next.expect("a next page");
    let page = posts.list(&query.clone().limit(3).after(&token)).expect("another size is fine");
    assert_eq!(page.rows.iter().map(|row| row.slug.as_str()).collect::<String>(), "cba");
    let foreign = [
        Query::new().eq("kind", "y"),
        Query::new().eq("kind", "x").descending(),
        Query::new().ge("kind", "x"),
        Query::new(),
    ];
    for query in foreign {
        refused(posts.list(&query.after(&token)), ErrorKind::Invalid, "page token");
    }
    for place in 0..token.len() {
        let mut altered = token.clone().into_bytes();
        altered[place] = if altered[place] == b'0' { b'1' } else { b'0' };
        let altered = String::from_utf8(altered).expect("hex");
        refused(posts.list(&query.clone().after(altered)), ErrorKind::Invalid, "page token");
    }
    for bad in ["", "0", "zz", &token[..10]] {
        refused(posts.list(&query.clone().after(bad)), ErrorKind::Invalid, "page token");
    }
    refused(posts.delete_where(&query.after(token)), ErrorKind::Invalid, "page token");
}

/// A type that lies in the collection of [`Post`], declared as `$schema`.
macro_rules! twin {
    ($name:ident, $version:literal, $key:ty, $schema:expr) => {
        #[derive(Debug, Clone, Serialize, Deserialize)]
        struct $name(Post);

        impl Record for $name {
            const COLLECTION: &'static str = "posts";
            const VERSION: u16 = $version;
            type Key = $key;

            fn key(&self) -> $key {
                Default::default()
            }

            fn schema() -> Schema<Self> {
                $schema
            }
        }
    };
}

twin!(OtherKey, 1, u64, Schema::new());
twin!(OtherField, 1, String, Schema::new().field("kind", |_| 1u8));
twin!(
    OtherIndex,
    1,
    String,
    Schema::new().field("kind", |twin: &Self| twin.0.kind.clone()).index("kind_created", ["kind"])
);
twin!(Older, 0, String, Schema::new());
twin!(UnknownField, 1, String, Schema::new().index("i", ["nothing"]));
twin!(TwoLists, 1, String, Schema::new().list_field("a", |_| [1u8]).list_field("b", |_| [1u8]).index("i", ["a", "b"]));
twin!(Same, 1, String, Schema::new());

#[test]
fn a_schema_that_contradicts_what_is_stored_is_refused_and_says_what_changed() {
    let (db, posts) = store();
    posts.save(post("a", "x", 1)).expect("a save");
    refused_alone(&db, || db.collection::<OtherKey>(), ErrorKind::Unsupported, "its key was str and is now u64");
    refused_alone(
        &db,
        || db.collection::<OtherField>(),
        ErrorKind::Unsupported,
        "field kind was `str` and is now `u8`",
    );
    refused_alone(&db, || db.collection::<OtherIndex>(), ErrorKind::Unsupported, "index kind_created was");
    refused_alone(&db, || db.collection::<Older>(), ErrorKind::Unsupported, "stored with version 1, newer than 0");
    refused_alone(&db, || db.collection::<UnknownField>(), ErrorKind::Invalid, "index i: there is no field nothing");
    refused_alone(&db, || db.collection::<TwoLists>(), ErrorKind::Invalid, "index i: at most one list field");
    posts.save(post("a", "y", 2)).expect("the first type is open as before");
}

#[test]
fn a_collection_is_opened_before_a_transaction_uses_it() {
    let db = MlPersistence::in_memory().open().expect("a store in memory");
    let unopened = db.transact(|txn| txn.collection::<Post>()?.save(post("a", "x", 1)));
    refused(unopened, ErrorKind::Invalid, "collection posts: open it on the store");
    let posts = db.collection::<Post>().expect("a collection");
    db.transact(|txn| txn.collection::<Post>()?.save(post("a", "x", 1))).expect("a save");
    // Opened as another type: whoever holds the first is told, and nothing is left out of an index in silence.
    db.collection::<Same>().expect("indexes may go").build().expect("their entries go");
    refused(posts.save(post("b", "x", 1)), ErrorKind::Conflict, "open it again");
    refused(posts.list(&Query::new()), ErrorKind::Conflict, "open it again");
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct PostTwo {
    slug: String,
    kind: String,
    words: u32,
}

impl Record for PostTwo {
    const COLLECTION: &'static str = "posts";
    const VERSION: u16 = 2;
    type Key = String;

    fn key(&self) -> String {
        self.slug.clone()
    }

    fn schema() -> Schema<Self> {
        Schema::new().field("kind", |post: &Self| post.kind.to_uppercase()).index("kind_created", ["kind"])
    }

    fn migrate(old: OldRecord<'_>) -> Result<Self> {
        let Post { slug, kind, body, .. } = old.read()?;
        Ok(PostTwo { slug, kind, words: body.split_whitespace().count() as u32 })
    }
}

#[test]
fn a_raised_version_reads_old_records_and_rebuilds_what_is_derived_from_them() {
    let (db, posts) = store();
    posts.save(Post { body: "one two".into(), ..post("a", "x", 1) }).expect("a save");
    posts.save(post("b", "x", 1)).expect("a save");
    let posts = db.collection::<PostTwo>().expect("a newer version");
    posts.build().expect("a build");
    assert_eq!(posts.get("a").expect("a read").map(|row| (row.words, row.revision)), Some((2, 1)));
    let found = posts.list(&Query::new().eq("kind", "X")).expect("a list");
    assert_eq!(found.rows.iter().map(|row| row.slug.as_str()).collect::<String>(), "ab");
    assert_eq!(posts.save(PostTwo { words: 3, ..found.rows[0].record.clone() }).expect("a save").revision, 2);
    assert_eq!(db.verify().expect("a sweep").violations, []);
    refused(db.collection::<Post>(), ErrorKind::Unsupported, "newer than 1");
}
