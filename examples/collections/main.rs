//! A blog's tags and posts, kept as the host's own types: `cargo run --example collections [-- --data DIR]`.
//!
//! Posts by slug, by kind, newest first, page by page; how many each tag has; a post and its tags in one transaction;
//! an update that notices that it is late. Run it again with the same folder: what was written is there.

use std::error::Error;
use std::path::PathBuf;

use ml_persistence::{ErrorKind, MlPersistence, Query, Rank, Record, Schema, Timestamp, asc, desc};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Tag {
    slug: String,
    title: String,
}

impl Record for Tag {
    const COLLECTION: &'static str = "tags";
    type Key = String;

    fn key(&self) -> String {
        self.slug.clone()
    }

    fn schema() -> Schema<Self> {
        Schema::new().field("title", |tag: &Tag| tag.title.clone()).index("by_title", ["title"])
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Kind {
    Note,
    Article,
}

impl Rank for Kind {
    const RANKS: &'static [(Self, u32)] = &[(Kind::Note, 1), (Kind::Article, 2)];
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Post {
    id: u64,
    slug: String,
    kind: Kind,
    created: Timestamp,
    words: u32,
    tags: Vec<String>,
}

impl Record for Post {
    const COLLECTION: &'static str = "posts";
    type Key = u64;

    fn key(&self) -> u64 {
        self.id
    }

    fn schema() -> Schema<Self> {
        Schema::new()
            .field("slug", |post: &Post| post.slug.clone())
            .field("kind", |post| post.kind)
            .field("created", |post| post.created)
            .list_field("tags", |post| post.tags.clone())
            .unique("by_slug", ["slug"])
            .index("by_kind", [asc("kind"), desc("created")])
            .index("by_tag", [asc("tags"), desc("created")])
            .count_by("tagged", ["tags"])
            .sum("words", ["kind"], |post| post.words.into())
    }
}

fn posts_to_write() -> Vec<Post> {
    let post = |id: u64, slug: &str, kind, words, tags: &[&str]| {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        Post { id, slug: slug.to_owned(), kind, created: Timestamp(1_700_000_000_000 + id * 60_000), words, tags }
    };
    vec![
        post(1, "hello", Kind::Note, 40, &["meta"]),
        post(2, "why-rust", Kind::Article, 1_200, &["rust", "opinion"]),
        post(3, "borrowing", Kind::Article, 2_400, &["rust"]),
        post(4, "on-holiday", Kind::Note, 15, &["meta"]),
        post(5, "lifetimes", Kind::Article, 1_800, &["rust"]),
    ]
}

fn main() -> Result<(), Box<dyn Error>> {
    let scratch = tempfile::tempdir()?;
    let folder = data_folder()?.unwrap_or_else(|| scratch.path().join("data"));
    let db = MlPersistence::open(&folder)?;
    let (posts, tags) = (db.collection::<Post>()?, db.collection::<Tag>()?);
    println!("{} posts were here", posts.count()?);

    // A post and the tags that it names: both, or neither.
    for post in posts_to_write() {
        db.transact(|txn| {
            for slug in &post.tags {
                txn.collection::<Tag>()?.save(Tag { slug: slug.clone(), title: slug.to_uppercase() })?;
            }
            txn.collection::<Post>()?.save(post.clone()).map(drop)
        })?;
    }

    println!("by slug:");
    for row in posts.list(&Query::new().eq("slug", "borrowing"))?.rows {
        println!("  {} has {} words", row.slug, row.words);
    }

    println!("articles, newest first, two a page:");
    let newest = Query::new().eq("kind", Kind::Article).order_by(desc("created")).limit(2);
    let mut page = posts.list(&newest)?;
    loop {
        let slugs: Vec<&str> = page.rows.iter().map(|row| row.slug.as_str()).collect();
        println!("  {}", slugs.join(", "));
        let Some(token) = page.next else { break };
        page = posts.list(&newest.clone().after(token))?;
    }

    println!("posts per tag:");
    for (tag, count) in posts.counts::<String>("tagged")? {
        let title = tags.get(tag.as_str())?.map_or(tag, |row| row.record.title);
        println!("  {title:<8} {count}");
    }
    println!("words in notes: {}", posts.sum("words", Kind::Note)?);

    // Two edits from the same revision: the second learns that it is late.
    let hello = posts.get(&1)?.ok_or("post 1 was written above")?;
    posts.update(Post { words: hello.words + 1, ..hello.record.clone() }, hello.revision)?;
    match posts.update(Post { words: 0, ..hello.record.clone() }, hello.revision) {
        Err(error) if error.kind() == ErrorKind::Conflict => println!("late: {error}"),
        outcome => return Err(format!("a late update answered {outcome:?}").into()),
    }

    // What nobody has declared an index for is refused, with the index to declare.
    match posts.list(&Query::new().order_by("created")) {
        Err(error) if error.kind() == ErrorKind::Unsupported => println!("refused: {error}"),
        outcome => return Err(format!("a query without an index answered {outcome:?}").into()),
    }
    db.close()?;
    Ok(())
}

/// The folder behind `--data`, if one is given.
fn data_folder() -> Result<Option<PathBuf>, Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    match (arguments.next(), arguments.next(), arguments.next()) {
        (None, _, _) => Ok(None),
        (Some(flag), Some(folder), None) if flag == "--data" => Ok(Some(folder.into())),
        _ => Err("usage: collections [--data DIR]".into()),
    }
}
