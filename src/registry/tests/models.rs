//! Models: creation, updates, counts.

use super::*;

#[test]
fn a_created_model_reads_back_with_every_field_in_the_documented_order() {
    let room = Room::new();
    let new = NewModel::new().description("d").tag("team", "mail").property("limit", 0.5).external_id("ext").by("ann");
    let created = room.registry.create_model("spam", new).unwrap();
    assert_eq!(created, room.model("spam"));
    assert_eq!(
        serde_json::to_string(&created).unwrap(),
        r#"{"name":"spam","description":"d","tags":{"team":"mail"},"properties":{"limit":0.5},"aliases":{},"active_version":null,"last_version":0,"versions":0,"archived_versions":0,"archived":false,"created_at":1000,"updated_at":1000,"revision":1}"#
    );
    assert_eq!((created.created_by.as_deref(), created.external_id.as_deref()), (Some("ann"), Some("ext")));
    assert_eq!(room.registry.model_by_external_id("ext").unwrap().unwrap().name, "spam");
    assert_eq!(kind(room.registry.create_model("spam", NewModel::new())), ErrorKind::AlreadyExists);
    assert_eq!(kind(room.registry.create_model("other", NewModel::new().external_id("ext"))), ErrorKind::AlreadyExists);
    assert_eq!(room.registry.get_model("other").unwrap(), None);
    room.assert_clean();
}

#[test]
fn an_update_changes_what_it_names_and_moves_updated_at_with_the_description_only() {
    let room = Room::new();
    room.registry.create_model("m", NewModel::new().tag("a", "1").tag("b", "2").property("p", 1i64)).unwrap();
    room.clock.advance(10);
    let update = ModelUpdate::new().set_tag("a", "9").delete_tag("b").delete_tag("missing").set_property("q", true);
    let model = room.registry.update_model("m", update.archived(true)).unwrap();
    assert_eq!(model.tags.into_iter().collect::<Vec<_>>(), [("a".to_owned(), "9".to_owned())]);
    assert_eq!(model.properties.len(), 2);
    assert!(model.archived);
    assert_eq!((model.updated_at, model.revision), (1_000, 2));
    let model = room.registry.update_model("m", ModelUpdate::new().description("new").by("bob")).unwrap();
    assert_eq!((model.updated_at, model.revision, model.changed_by.as_deref()), (1_010, 3, Some("bob")));
    let model = room.registry.update_model("m", ModelUpdate::new()).unwrap();
    assert_eq!((model.description.as_deref(), model.revision), (Some("new"), 4));
    let both = ModelUpdate::new().set_tag("a", "1").delete_tag("a");
    assert_eq!(kind(room.registry.update_model("m", both)), ErrorKind::Invalid);
    assert_eq!(kind(room.registry.update_model("none", ModelUpdate::new())), ErrorKind::NotFound);
    assert_eq!(kind(room.registry.update_model("m", ModelUpdate::new().expected_revision(3))), ErrorKind::Conflict);
    assert_eq!(room.model("m").revision, 4);
    room.assert_clean();
}

#[test]
fn a_model_may_not_outgrow_its_bound_by_updates_either() {
    let room = Room::new();
    room.registry.create_model("m", NewModel::new().tag("a", "x".repeat(600_000))).unwrap();
    let second = ModelUpdate::new().set_tag("b", "x".repeat(600_000));
    assert_eq!(kind(room.registry.update_model("m", second.clone())), ErrorKind::Invalid);
    room.registry.update_model("m", second.delete_tag("a")).unwrap();
    assert_eq!(room.register("m").version, 1);
    assert_eq!(room.model("m").tags.keys().collect::<Vec<_>>(), ["b"]);
    room.assert_clean();
}

#[test]
fn the_summary_counts_models_and_versions_by_state() {
    let room = Room::new();
    room.registry.create_model("empty", NewModel::new()).unwrap();
    for _ in 0..3 {
        room.register("a");
    }
    room.register("b");
    room.registry.archive("a", 1, &any()).unwrap();
    room.registry.archive("b", 1, &any()).unwrap();
    room.registry.update_model("b", ModelUpdate::new().archived(true)).unwrap();
    let summary = room.registry.summary().unwrap();
    let models = ModelCounts { total: 3, live: 2, archived: 1, with_active_version: 1 };
    assert_eq!(summary, Summary { models, versions: VersionCounts { total: 4, live: 2, archived: 2 } });
    assert_eq!(room.registry.version_counts("a").unwrap(), VersionCounts { total: 3, live: 2, archived: 1 });
    assert_eq!((room.model("a").versions, room.model("a").archived_versions), (3, 1));
    assert_eq!(kind(room.registry.version_counts("none")), ErrorKind::NotFound);
    room.assert_clean();
}
