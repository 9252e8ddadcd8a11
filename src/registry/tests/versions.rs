//! Versions: numbers, content, updates, archiving, deletion.

use super::*;

#[test]
fn a_registered_version_reads_back_exactly_as_it_was_given() {
    let room = Room::new();
    room.register("spam");
    let parse = |text| crate::Json::parse(text).unwrap();
    let new = NewVersion::new()
        .source("git://x")
        .run_id("r1")
        .description("d")
        .tag("t", "1")
        .property("p", 7i64)
        .metric("f1", 0.91)
        .metric_json("loss", parse("1.50"))
        .metric_json("big", parse("123456789012345678901234567890"))
        .hyperparam("depth", json!(6))
        .hyperparam("raw", parse("{\"lr\": 1e-3}"))
        .parent_version(1)
        .training_data_hash("abc")
        .stage("staging")
        .artifact_uri("s3://m", Sha256([1; 32]), 9)
        .external_id("ext")
        .label("first")
        .by("ann");
    let version = room.registry.register_version("spam", new).unwrap();
    assert_eq!(version, room.version("spam", 2));
    assert_eq!(
        serde_json::to_string(&version).unwrap(),
        format!(
            r#"{{"model":"spam","version":2,"archived":false,"stage":"staging","source":"git://x","run_id":"r1","description":"d","tags":{{"t":"1"}},"properties":{{"p":7}},"metrics":{{"big":123456789012345678901234567890,"f1":0.91,"loss":1.50}},"hyperparams":{{"depth":6,"raw":{{"lr":1e-3}}}},"parent_version":1,"training_data_hash":"abc","created_by":"ann","artifact":{{"uri":"s3://m","sha256":"{}","bytes":9}},"aliases":[],"created_at":1000,"updated_at":1000,"last_used_at":null,"revision":1}}"#,
            "01".repeat(32)
        )
    );
    assert_eq!(room.version("spam", VersionRef::Label("first".to_owned())).version, 2);
    assert_eq!(room.registry.version_by_external_id("ext").unwrap().unwrap().version, 2);
    assert_eq!(room.model("spam").active_version, Some(2));
    room.assert_clean();
}

#[test]
fn what_cannot_be_registered_leaves_nothing_behind() {
    let room = Room::new();
    let refuse = |new: NewVersion| kind(room.registry.register_version("m", new));
    assert_eq!(refuse(NewVersion::new().create_model(false)), ErrorKind::NotFound);
    assert_eq!(refuse(NewVersion::new().metric("nan", f64::NAN)), ErrorKind::Invalid);
    assert_eq!(refuse(NewVersion::new().metric_json("text", json!("7"))), ErrorKind::Invalid);
    assert_eq!(refuse(NewVersion::new().property("inf", f64::INFINITY)), ErrorKind::Invalid);
    assert_eq!(refuse(NewVersion::new().stage("")), ErrorKind::Invalid);
    assert_eq!(refuse(NewVersion::new().tag("", "x")), ErrorKind::Invalid);
    assert_eq!(refuse(NewVersion::new().parent_version(1)), ErrorKind::NotFound);
    assert_eq!(refuse(NewVersion::new().hyperparam("x", json!("x".repeat(2 << 20)))), ErrorKind::Invalid);
    assert_eq!(kind(room.registry.register_version(" m", NewVersion::new())), ErrorKind::Invalid);
    assert_eq!(room.registry.summary().unwrap(), Summary::default());
    room.assert_clean();
}

#[test]
fn sixteen_threads_get_dense_and_unique_numbers() {
    let room = Room::new();
    let mut numbers: Vec<u32> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..16).map(|_| scope.spawn(|| (0..5).map(|_| room.register("m").version).collect::<Vec<_>>())).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=80).collect::<Vec<_>>());
    let model = room.model("m");
    assert_eq!((model.last_version, model.versions, model.revision), (80, 80, 80));
    room.assert_clean();
}

#[test]
fn a_deleted_number_is_not_given_out_again() {
    let room = Room::new();
    room.register("m");
    room.clock.advance(5);
    room.register("m");
    assert_eq!((room.model("m").created_at, room.model("m").updated_at), (1_000, 1_005));
    room.clock.advance(5);
    room.registry.delete_version("m", 2, &any()).unwrap();
    let model = room.model("m");
    assert_eq!((model.last_version, model.versions, model.active_version, model.updated_at), (2, 1, None, 1_010));
    assert_eq!(room.registry.get("m", 2).unwrap(), None);
    assert_eq!(kind(room.registry.delete_version("m", 2, &any())), ErrorKind::NotFound);
    assert_eq!(room.registry.register_version("m", NewVersion::new().parent_version(2)).unwrap().version, 3);
    room.registry.archive("m", 1, &any()).unwrap();
    room.registry.delete_version("m", 1, &any()).unwrap();
    assert_eq!((room.model("m").versions, room.model("m").archived_versions), (1, 0));
    room.assert_clean();
}

#[test]
fn after_the_last_number_a_model_is_full() {
    let room = Room::new();
    room.register("m");
    room.store
        .transact(Durability::PowerLoss, |txn| {
            let old = txn.get::<super::super::record::ModelRecord>(b"m")?.unwrap();
            let mut new = old.clone();
            new.last_version = u32::MAX - 1;
            txn.update(&old, new)
        })
        .unwrap();
    assert_eq!(room.register("m").version, u32::MAX);
    assert_eq!(kind(room.registry.register_version("m", NewVersion::new())), ErrorKind::Full);
    assert_eq!(room.version("m", VersionRef::latest()).version, u32::MAX);
    room.assert_clean();
}

#[test]
fn labels_are_unique_in_their_model_and_external_ids_everywhere() {
    let room = Room::new();
    let label = || NewVersion::new().label("best");
    room.registry.register_version("a", label().external_id("x")).unwrap();
    assert_eq!(kind(room.registry.register_version("a", label())), ErrorKind::AlreadyExists);
    room.registry.register_version("b", label()).unwrap();
    assert_eq!(kind(room.registry.register_version("b", NewVersion::new().external_id("x"))), ErrorKind::AlreadyExists);
    assert_eq!((room.model("a").last_version, room.model("b").last_version), (1, 1));
    room.registry.delete_version("a", 1, &any()).unwrap();
    assert_eq!(room.registry.register_version("a", label().external_id("x")).unwrap().version, 2);
    room.assert_clean();
}

#[test]
fn an_update_of_the_stage_is_news_of_the_model_and_other_updates_are_not() {
    let room = Room::new();
    room.register("m");
    room.clock.advance(10);
    let update = VersionUpdate::new().description("d").set_tag("t", "1").set_property("p", 1.5).by("bob");
    let version = room.registry.update_version("m", 1, update.expected_revision(1)).unwrap();
    assert_eq!((version.revision, version.updated_at, version.changed_by.as_deref()), (2, 1_010, Some("bob")));
    assert_eq!((room.model("m").updated_at, room.model("m").revision), (1_000, 1));
    room.clock.advance(10);
    let version = room.registry.update_version("m", 1, VersionUpdate::new().stage("prod")).unwrap();
    assert_eq!((version.stage.as_deref(), version.description.as_deref()), (Some("prod"), Some("d")));
    assert_eq!((room.model("m").updated_at, room.model("m").revision), (1_020, 2));
    assert_eq!(room.registry.latest_in_stage("m", "prod").unwrap().unwrap().version, 1);
    room.registry.update_version("m", 1, VersionUpdate::new().clear_stage()).unwrap();
    assert_eq!(room.registry.latest_in_stage("m", "prod").unwrap(), None);
    assert_eq!(
        kind(room.registry.update_version("m", 1, VersionUpdate::new().expected_revision(1))),
        ErrorKind::Conflict
    );
    assert_eq!(kind(room.registry.update_version("m", 9, VersionUpdate::new())), ErrorKind::NotFound);
    room.assert_clean();
}

#[test]
fn everything_in_one_transaction_is_undone_by_its_error() {
    let room = Room::new();
    room.register("kept");
    let digest = || crate::record::digest(&*room.engine).unwrap();
    let before = digest();
    let outcome: Result<()> = room.store.transact(Durability::PowerLoss, |txn| {
        let mut registry = txn.registry();
        registry.create_model("gone", NewModel::new())?;
        let version = registry.register_version("gone", NewVersion::new().artifact(vec![7; 100_000]))?;
        registry.set_alias("gone", "prod", version.version, &any())?;
        assert_eq!(registry.get("gone", "prod")?.unwrap().aliases, ["prod"]);
        registry.archive("kept", 1, &any())?;
        assert_eq!(registry.get_model("kept")?.unwrap().active_version, None);
        Err(Error::conflict("changed my mind"))
    });
    assert_eq!(kind(outcome), ErrorKind::Conflict);
    assert_eq!(digest(), before);
    assert_eq!(room.registry.get_model("gone").unwrap(), None);
    assert_eq!(room.model("kept").active_version, Some(1));
    room.assert_clean();
}

#[test]
fn a_refusal_inside_a_transaction_that_goes_on_has_written_nothing() {
    let room = Room::new();
    room.registry.register_version("m", NewVersion::new().label("best").artifact(vec![1])).unwrap();
    room.registry.archive("m", 1, &any()).unwrap();
    let before = crate::record::digest(&*room.engine).unwrap();
    room.store
        .transact(Durability::PowerLoss, |txn| {
            let mut registry = txn.registry();
            let taken = NewVersion::new().label("best").artifact(vec![2; 20_000]);
            assert_eq!(kind(registry.register_version("m", taken)), ErrorKind::AlreadyExists);
            assert_eq!(kind(registry.activate("m", 1, &any())), ErrorKind::Conflict);
            assert_eq!(kind(registry.set_alias("m", "prod", 7, &any())), ErrorKind::NotFound);
            assert_eq!(kind(registry.delete_version("m", 1, &any().expected_revision(9))), ErrorKind::Conflict);
            Ok(())
        })
        .unwrap();
    assert_eq!(crate::record::digest(&*room.engine).unwrap(), before);
    room.assert_clean();
}

#[test]
fn latest_inside_a_transaction_is_what_it_is_outside_and_sees_what_the_transaction_wrote() {
    let room = Room::new();
    let latest = |room: &Room| {
        let inside = room.store.transact(Durability::PowerLoss, |txn| txn.registry().get("m", VersionRef::latest()));
        let inside = inside.unwrap();
        assert_eq!(inside, room.registry.get("m", VersionRef::latest()).unwrap());
        inside.map(|version| version.version)
    };
    assert_eq!(latest(&room), None);
    (0..6).for_each(|_| drop(room.register("m")));
    assert_eq!(latest(&room), Some(6));
    room.registry.archive("m", 6, &any()).unwrap();
    room.registry.delete_version("m", 5, &any()).unwrap();
    assert_eq!(latest(&room), Some(4));
    let inside = room.store.transact(Durability::PowerLoss, |txn| {
        let mut registry = txn.registry();
        registry.unarchive("m", 6, &any())?;
        let unarchived = registry.get("m", "latest")?.map(|version| version.version);
        let registered = registry.register_version("m", NewVersion::new())?.version;
        assert_eq!(registry.get("m", "latest")?.map(|version| version.version), Some(registered));
        Ok((unarchived, registered))
    });
    assert_eq!(inside.unwrap(), (Some(6), 7));
    for number in [1, 2, 3, 4, 6, 7] {
        room.registry.archive("m", number, &any()).unwrap();
    }
    assert_eq!(latest(&room), None);
    room.assert_clean();
}

#[test]
fn a_transaction_looks_for_latest_so_far_and_says_when_that_is_not_far_enough() {
    let room = Room::new();
    room.register("m");
    let give_out = |last_version| {
        let given = room.store.transact(Durability::PowerLoss, |txn| {
            let old: ModelRecord = txn.get(b"m")?.unwrap();
            txn.update(&old, ModelRecord { last_version, ..old.clone() }).map(drop)
        });
        given.unwrap();
        room.store.transact(Durability::PowerLoss, |txn| txn.registry().get("m", VersionRef::latest()))
    };
    assert_eq!(give_out(LATEST_IN_TRANSACTION_MAX).unwrap().unwrap().version, 1);
    assert_eq!(kind(give_out(LATEST_IN_TRANSACTION_MAX + 1)), ErrorKind::Unsupported);
    assert_eq!(room.version("m", VersionRef::latest()).version, 1, "outside there is no end to it");
    assert_eq!(room.register("m").version, LATEST_IN_TRANSACTION_MAX + 2);
    room.assert_clean();
}

#[test]
fn several_versions_can_be_registered_in_one_transaction() {
    let room = Room::new();
    let numbers = room.store.transact(Durability::PowerLoss, |txn| {
        (0..3).map(|_| Ok(txn.registry().register_version("m", NewVersion::new())?.version)).collect::<Result<Vec<_>>>()
    });
    assert_eq!(numbers.unwrap(), [1, 2, 3]);
    assert_eq!(room.registry.summary().unwrap().versions.total, 3);
    room.assert_clean();
}
