//! The format and its reader: round trips, and everything that a file should not be.
//!
//! A file is made of a model (sorted maps), read back, and compared; then it is cut at every byte, every bit of it is
//! flipped, and its parts are put together wrongly with checksums that are right. No case may panic, take memory for what a
//! file only claims, or show a visitor the end of a file that is not whole.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::layout::*;
use super::read::{self, Source, Walked};
use super::trail::{Compared, Steps, Trail};
use super::view::FileView;
use super::write::Writer;
use crate::engine::{
    ChainHash, Cursor, Direction, Epoch, EpochStart, KeyRange, Position, Reader, SCAN_LIMIT_MAX, Tree,
};
use crate::error::{Error, ErrorKind, Result};

type Entries = BTreeMap<(Tree, Vec<u8>), Option<Vec<u8>>>;

fn position(sequence: u64) -> Position {
    let epoch = Epoch { number: 3, id: 0x0102_0304_0506_0708 };
    let first = EpochStart { epoch: Epoch { number: 1, id: 77 }, after_sequence: 0 };
    Position {
        cursor: Cursor { lineage: 0xabcd << 64 | 5, epoch, sequence },
        chain: Some(ChainHash::START.after(sequence, b"")),
        epochs: vec![first, EpochStart { epoch, after_sequence: 4 }],
    }
}

fn write(between: Option<(Cursor, Cursor)>, base: &Entries, overlay: &Entries) -> Vec<u8> {
    let position = position(42);
    let mut writer = Writer::new(Vec::new(), &Header { between }).unwrap();
    for (section, entries) in [(Section::Base, base), (Section::Overlay, overlay)] {
        for ((tree, key), value) in entries {
            writer.record(section, &Record { tree: *tree, key, value: value.as_deref() }).unwrap();
        }
    }
    let digest = if between.is_some() { [0; 32] } else { [9; 32] };
    let trail = match between {
        None => Trail::full(position.chain),
        Some((base, end)) => {
            let hash = |sequence| ChainHash::START.after(sequence, b"");
            let mut steps = Steps::new();
            (base.sequence + 1..=end.sequence).for_each(|sequence| steps.see(sequence, &hash(sequence)));
            steps.trail(Some(hash(base.sequence)), (position.chain, &end), 0)
        }
    };
    writer.finish(digest, &position, trail).unwrap().0
}

fn walk(bytes: &[u8]) -> Result<(Walked, [Entries; 2])> {
    let mut seen = [Entries::new(), Entries::new()];
    let walked = read::walk(bytes, true, |section, record| {
        let before = seen[section.place()].insert((record.tree, record.key.to_vec()), record.value.map(<[u8]>::to_vec));
        assert!(before.is_none(), "a key was shown twice");
        Ok(())
    })?;
    Ok((walked, seen))
}

fn entry(tree: Tree, key: &[u8], value: &[u8]) -> ((Tree, Vec<u8>), Option<Vec<u8>>) {
    ((tree, key.to_vec()), Some(value.to_vec()))
}

fn small() -> (Entries, Entries) {
    let base = [
        entry(Tree::Models, b"spam", b"a model"),
        entry(Tree::Kv, b"n\0\0a", b"1"),
        entry(Tree::Kv, b"n\0\0b", &[7; 300]),
        entry(Tree::Meta, b"queue", b"3"),
    ];
    let overlay = [entry(Tree::Kv, b"n\0\0b", b"2"), ((Tree::Meta, b"queue".to_vec()), None)];
    (base.into(), overlay.into())
}

fn small_file() -> Vec<u8> {
    let (base, overlay) = small();
    write(None, &base, &overlay)
}

fn delta_between() -> Option<(Cursor, Cursor)> {
    Some((Cursor { sequence: 20, ..position(42).cursor }, position(42).cursor))
}

fn kind(bytes: &[u8]) -> ErrorKind {
    walk(bytes).expect_err("it was taken for whole").kind()
}

#[test]
fn a_file_reads_back_as_it_was_written() {
    let (base, overlay) = small();
    let (walked, seen) = walk(&small_file()).unwrap();
    assert_eq!(seen, [base.clone(), overlay]);
    assert_eq!(walked.position(), position(42));
    assert_eq!(walked.header, Header { between: None });
    let info = walked.info();
    assert_eq!((info.records, info.removals, info.bytes), (5, 1, small_file().len() as u64));
    let empty = write(None, &Entries::new(), &Entries::new());
    assert_eq!(walk(&empty).unwrap().0.manifest.chunks, 0);
    let delta = write(delta_between(), &base, &Entries::new());
    assert_eq!(walk(&delta).unwrap().0.header.between, delta_between());
}

#[test]
fn the_bytes_of_version_1_stay_what_they_are() {
    // The fixture was written by the first build of this format; if this fails, the change is wrong, not the test.
    let fixture = include_bytes!("../../tests/fixtures/v1.mlsnap");
    let (walked, seen) = walk(fixture).unwrap();
    let (base, overlay) = small();
    assert_eq!(seen, [base, overlay]);
    // The first build had no trail.
    assert_eq!(walked.position(), Position { chain: None, ..position(42) });
    // How a chunk is packed is the compressor's business; all else is fixed.
    assert_eq!(walked.header.encode(), fixture[..HEADER_BYTES]);
}

#[test]
fn the_trail_of_a_delta_stays_where_it_is_in_the_file() {
    let fixture = include_bytes!("../../tests/fixtures/v1-delta.mlsnap");
    let (walked, seen) = walk(fixture).unwrap();
    assert_eq!(seen, [small().0, Entries::new()]);
    assert_eq!((walked.header.between, walked.position()), (delta_between(), position(42)));
    let (base, end) = delta_between().unwrap();
    for sequence in base.sequence..=end.sequence {
        let hash = |sequence| Some(ChainHash::START.after(sequence, b""));
        let compare = |hash| walked.manifest.trail.compare((&base, &end), sequence, hash);
        assert_eq!(compare(hash(sequence)), Compared::Same, "{sequence}");
        assert_eq!(compare(hash(0)), Compared::Other, "{sequence}");
    }
}

#[test]
fn a_file_cut_short_at_any_byte_is_corrupt() {
    let bytes = small_file();
    for cut in 0..bytes.len() {
        assert_eq!(kind(&bytes[..cut]), ErrorKind::Corrupt, "cut at {cut}");
    }
}

#[test]
fn any_single_flipped_bit_is_noticed() {
    for bytes in [small_file(), write(delta_between(), &small().0, &Entries::new())] {
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(kind(&damaged), ErrorKind::Corrupt, "bit {bit}");
        }
    }
}

#[test]
fn bytes_behind_the_end_are_corrupt() {
    let bytes = small_file();
    assert_eq!(kind(&[&bytes[..], b"\0"].concat()), ErrorKind::Corrupt);
    assert_eq!(kind(&[&bytes[..], &bytes[..]].concat()), ErrorKind::Corrupt);
}

#[test]
fn a_file_of_another_kind_is_corrupt_and_a_newer_one_unsupported() {
    assert_eq!(kind(b""), ErrorKind::Corrupt);
    assert_eq!(kind(&[b'x'; 4096]), ErrorKind::Corrupt);
    // A newer reader's version, a schema, a compression and critical flags; each under a checksum that is right.
    for (at, value, expected) in [
        (12, 2, ErrorKind::Unsupported),
        (17, 2, ErrorKind::Unsupported),
        (18, 2, ErrorKind::Unsupported),
        (20, 1, ErrorKind::Unsupported),
        (21, 0x80, ErrorKind::Unsupported),
        (16, 3, ErrorKind::Corrupt),
        (16, 2, ErrorKind::Corrupt),
        (200, 1, ErrorKind::Corrupt),
    ] {
        let mut bytes = small_file();
        bytes[at] = value;
        seal_header(&mut bytes);
        let outcome = walk(&bytes).expect_err("taken").kind();
        assert_eq!(outcome, expected, "byte {at} = {value}");
    }
    // Flags of the upper half are hints: a reader that does not know them goes on, and the trailer still tells.
    let mut bytes = small_file();
    bytes[23] = 1;
    seal_header(&mut bytes);
    assert!(walk(&reseal(bytes)).is_ok());
}

fn seal_header(bytes: &mut [u8]) {
    let crc = crc32c::crc32c(&bytes[..HEADER_BYTES - 4]);
    bytes[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
}

/// Gives a changed file a trailer that is right for it.
fn reseal(mut bytes: Vec<u8>) -> Vec<u8> {
    let at = bytes.len() - TRAILER_BYTES;
    let old = Trailer::decode(bytes[at..].first_chunk().unwrap()).unwrap();
    let trailer = Trailer { total_bytes: bytes.len() as u64, hash: *blake3::hash(&bytes[..at]).as_bytes(), ..old };
    bytes.truncate(at);
    bytes.extend_from_slice(&trailer.encode());
    bytes
}

/// A file that a hostile writer put together: any chunks, manifest and trailer fitting whatever they are.
fn forged(chunks: &[(ChunkHeader, Vec<u8>)], forge: impl FnOnce(&mut Manifest)) -> Vec<u8> {
    let mut bytes = Header { between: None }.encode();
    let mut list = Vec::new();
    for (header, content) in chunks {
        list.extend(list_entry(bytes.len() as u64, header, (Tree::Kv, b"k"), (Tree::Kv, b"k")));
        bytes.extend_from_slice(&header.encode());
        bytes.extend_from_slice(content);
    }
    let at = bytes.len() as u64;
    let mut totals = TotalsTable::default();
    totals[0][Tree::Kv.index()] = Totals { records: chunks.len() as u64, tombstones: 0, bytes: chunks.len() as u64 };
    let position = position(42);
    let mut manifest = Manifest {
        end: position.cursor,
        digest: [9; 32],
        totals,
        epochs: position.epochs,
        trail: Trail::default(),
        chunks: chunks.len() as u64,
        list_hash: *blake3::hash(&list).as_bytes(),
    };
    forge(&mut manifest);
    bytes.extend_from_slice(&manifest.encode());
    bytes.extend_from_slice(&list);
    let total_bytes = (bytes.len() + TRAILER_BYTES) as u64;
    let hash = *blake3::hash(&bytes).as_bytes();
    bytes.extend_from_slice(&Trailer { manifest_at: at, total_bytes, hash }.encode());
    bytes
}

fn raw(records: &[Record<'_>]) -> Vec<u8> {
    let mut raw = Vec::new();
    records.iter().for_each(|record| record.put(&mut raw));
    raw
}

fn chunk(raw: &[u8], records: u32) -> (ChunkHeader, Vec<u8>) {
    let header = ChunkHeader {
        section: Section::Base,
        compressed: false,
        raw_bytes: raw.len() as u32,
        stored_bytes: raw.len() as u32,
        records,
        hash: *blake3::hash(raw).as_bytes(),
    };
    (header, raw.to_vec())
}

const K: Record<'_> = Record { tree: Tree::Kv, key: b"k", value: Some(b"") };

#[test]
fn a_forged_file_is_taken_when_nothing_about_it_is_wrong() {
    // The twin that shows that the others below are refused for what was done to them.
    assert!(walk(&forged(&[chunk(&raw(&[K]), 1)], |_| ())).is_ok());
}

#[test]
fn keys_out_of_order_or_twice_are_corrupt_within_a_chunk_and_across_two() {
    let j = Record { key: b"j", ..K };
    let earlier_tree = Record { tree: Tree::Jobs, ..K };
    for second in [K, j, earlier_tree] {
        assert_eq!(kind(&forged(&[chunk(&raw(&[K, second]), 2)], |_| ())), ErrorKind::Corrupt);
        assert_eq!(kind(&forged(&[chunk(&raw(&[K]), 1), chunk(&raw(&[second]), 1)], |_| ())), ErrorKind::Corrupt);
    }
}

#[test]
fn records_that_make_no_sense_are_corrupt() {
    let good = raw(&[K]);
    let patched = |at: usize, value: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        bytes
    };
    let long_key = vec![b'k'; 1025];
    let long_value = vec![0; 16385];
    let cases = [
        patched(0, &[99]),
        patched(1, &[2]),
        // A length of zero, of far too much, and of more than there is.
        patched(2, &[0, 0]),
        patched(2, &[0xff, 0xff]),
        patched(4, &[0xff; 4]),
        patched(4, &[1, 0, 0, 0]),
        raw(&[Record { key: &long_key, ..K }]),
        raw(&[Record { value: Some(&long_value), ..K }]),
        // What the engine keeps of its own must not come from a file; a full base removes nothing.
        raw(&[Record { tree: Tree::Meta, key: b"\0epoch", value: Some(b"") }]),
        raw(&[Record { value: None, ..K }]),
        good[..good.len() - 1].to_vec(),
    ];
    for (number, case) in cases.iter().enumerate() {
        assert_eq!(kind(&forged(&[chunk(case, 1)], |_| ())), ErrorKind::Corrupt, "case {number}");
    }
}

#[test]
fn chunks_that_lie_about_themselves_are_corrupt() {
    let (header, content) = chunk(&raw(&[K]), 1);
    let lies = [
        ChunkHeader { records: 2, ..header },
        ChunkHeader { records: 0, ..header },
        ChunkHeader { raw_bytes: header.raw_bytes + 1, ..header },
        ChunkHeader { raw_bytes: u32::MAX, stored_bytes: u32::MAX, ..header },
        ChunkHeader { raw_bytes: CHUNK_BYTES_MAX as u32 + 1, stored_bytes: CHUNK_BYTES_MAX as u32 + 1, ..header },
        ChunkHeader { stored_bytes: 1 << 31, ..header },
        ChunkHeader { raw_bytes: 0, stored_bytes: 0, ..header },
        ChunkHeader { compressed: true, raw_bytes: 100, ..header },
        ChunkHeader { hash: [0; 32], ..header },
    ];
    for lie in lies {
        assert_eq!(kind(&forged(&[(lie, content.clone())], |_| ())), ErrorKind::Corrupt, "{lie:?}");
    }
    let overlay_first =
        [(ChunkHeader { section: Section::Overlay, ..header }, content.clone()), (header, content.clone())];
    assert_eq!(kind(&forged(&overlay_first, |_| ())), ErrorKind::Corrupt);
}

#[test]
fn a_chunk_that_unpacks_to_more_than_a_chunk_is_corrupt_and_takes_no_memory() {
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap();
    assert!(bomb.len() < 16 << 10);
    let header = ChunkHeader {
        section: Section::Base,
        compressed: true,
        raw_bytes: CHUNK_BYTES_MAX as u32,
        stored_bytes: bomb.len() as u32,
        records: 1,
        hash: [0; 32],
    };
    assert_eq!(kind(&forged(&[(header, bomb)], |_| ())), ErrorKind::Corrupt);
}

#[test]
fn a_manifest_that_does_not_fit_the_chunks_is_corrupt() {
    type Forge = fn(&mut Manifest);
    let forges: [Forge; 10] = [
        |manifest| manifest.trail.before = Some(ChainHash::START),
        |manifest| manifest.chunks = 0,
        |manifest| manifest.chunks = u64::MAX,
        |manifest| manifest.list_hash = [0; 32],
        |manifest| manifest.totals[0][Tree::Kv.index()].records = 1 << 63,
        |manifest| manifest.totals[1][0].bytes = 1,
        |manifest| manifest.epochs.clear(),
        |manifest| manifest.epochs.reverse(),
        |manifest| manifest.epochs.truncate(1),
        |manifest| manifest.end.sequence = 3,
    ];
    for (number, forge) in forges.into_iter().enumerate() {
        assert_eq!(kind(&forged(&[chunk(&raw(&[K]), 1)], forge)), ErrorKind::Corrupt, "forge {number}");
    }
}

#[test]
fn the_trailer_of_another_file_is_corrupt() {
    let (base, _) = small();
    let other = write(None, &base, &Entries::new());
    let mut bytes = small_file();
    let at = bytes.len() - TRAILER_BYTES;
    bytes.truncate(at);
    bytes.extend_from_slice(&other[other.len() - TRAILER_BYTES..]);
    assert_eq!(kind(&bytes), ErrorKind::Corrupt);
}

#[test]
fn a_writer_refuses_records_out_of_order() {
    let mut writer = Writer::new(Vec::new(), &Header { between: None }).unwrap();
    writer.record(Section::Base, &K).unwrap();
    assert_eq!(writer.record(Section::Base, &K).unwrap_err().kind(), ErrorKind::Internal);
    writer.record(Section::Overlay, &K).unwrap();
    assert_eq!(writer.record(Section::Base, &Record { key: b"l", ..K }).unwrap_err().kind(), ErrorKind::Internal);
}

#[test]
fn an_error_of_the_visitor_ends_the_walk() {
    let bytes = small_file();
    let outcome = read::walk(bytes.as_slice(), false, |_, _| Err(Error::invalid("enough")));
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Invalid);
}

fn entries(removals: bool) -> impl Strategy<Value = Entries> {
    let key = (0u8..10, proptest::collection::vec(1u8..4, 1..4));
    // From nothing to the largest value, of bytes that pack well and badly.
    let value = (any::<u8>(), prop_oneof![Just(0usize), 1usize..64, 8000usize..16385])
        .prop_map(|(seed, length)| (0..length).map(|place| (place as u8).wrapping_mul(seed)).collect::<Vec<u8>>());
    let value = prop_oneof![4 => value.prop_map(Some), 1 => Just(None)];
    proptest::collection::btree_map(key, value, 0..60).prop_map(move |entries| {
        entries
            .into_iter()
            .map(|((tree, key), value)| ((Tree::from_number(tree).unwrap(), key), value))
            .filter(|(_, value)| removals || value.is_some())
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_content_reads_back_and_the_merged_view_is_the_base_with_the_overlay_on_top(
        base in entries(false),
        overlay in entries(true),
        page in 1usize..7,
    ) {
        let bytes = write(None, &base, &overlay);
        let (walked, seen) = walk(&bytes).unwrap();
        prop_assert_eq!(&seen, &[base.clone(), overlay.clone()]);
        let mut model = base;
        model.extend(overlay);
        let view = FileView::new(bytes.as_slice(), &walked.index).unwrap();
        for tree in Tree::ALL {
            let mut merged = Vec::new();
            let mut rest = KeyRange::all();
            loop {
                let page = view.scan(*tree, &rest, Direction::Ascending, page).unwrap();
                merged.extend(page.entries.into_iter().map(|(key, value)| (key, value.to_vec())));
                match page.resume {
                    Some(key) => rest = rest.behind(&key, Direction::Ascending),
                    None => break,
                }
            }
            let expected: Vec<_> = model
                .iter()
                .filter(|((of, _), _)| of == tree)
                .filter_map(|((_, key), value)| value.clone().map(|value| (key.clone(), value)))
                .collect();
            prop_assert_eq!(merged, expected);
        }
        for ((tree, key), value) in &model {
            prop_assert_eq!(&view.get(*tree, key).unwrap().map(|value| value.to_vec()), value);
        }
        prop_assert!(view.scan(Tree::Kv, &KeyRange::prefix(b"\x09"), Direction::Ascending, SCAN_LIMIT_MAX).unwrap().entries.is_empty());
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes: Vec<u8>, at in 0usize..4000, with: Vec<u8>) {
        prop_assert!(walk(&bytes).is_err());
        // And any bytes in the place of a part of a good file.
        let mut spliced = small_file();
        let at = at % spliced.len();
        let end = (at + with.len()).min(spliced.len());
        let before = spliced.clone();
        spliced.splice(at..end, with);
        prop_assert!(walk(&spliced).is_err() || spliced == before);
    }
}

/// Writes the fixture. Only for a new version of the format.
#[test]
#[ignore = "writes tests/fixtures; run by hand for a new version of the format"]
fn write_the_fixture() {
    // `v1.mlsnap` was written before files had a trail, and stays as it is.
    let delta = write(delta_between(), &small().0, &Entries::new());
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/v1-delta.mlsnap"), delta).unwrap();
}

#[test]
fn a_source_that_is_a_slice_knows_its_end() {
    let bytes: &[u8] = b"abc";
    let mut two = [0; 2];
    bytes.read_exact_at(1, &mut two).unwrap();
    assert_eq!(&two, b"bc");
    for offset in [2, 3, u64::MAX] {
        assert_eq!(bytes.read_exact_at(offset, &mut two).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
