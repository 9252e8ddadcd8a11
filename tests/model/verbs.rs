//! The registry's verbs as values, done to the store and to the model.

use ml_persistence::registry::{ModelUpdate, NewModel, NewVersion, VersionUpdate};
use ml_persistence::{Change, MlPersistence, Transaction};
use proptest::prelude::*;

use super::registry::{Answer, New, Registry, Version};
use super::state::{Agreement, same};

/// One is another's version by its looks.
pub const MODELS: [&str; 3] = ["m", "m@v1", "ü"];
pub const ALIASES: [&str; 2] = ["prod", "next"];
pub const STAGES: [&str; 2] = ["live", "test"];

/// Which revision a change demands.
#[derive(Debug, Clone, Copy)]
pub enum Demand {
    Any,
    TheOneThere,
    Another,
}

/// `alias`: `None` is the active pointer.
#[derive(Debug, Clone)]
pub enum Op {
    Create {
        model: usize,
        description: Option<u8>,
        external_id: Option<u8>,
    },
    Register {
        model: usize,
        new: New,
    },
    UpdateModel {
        model: usize,
        description: Option<u8>,
        tag: Option<Option<u8>>,
        archived: Option<bool>,
        demand: Demand,
    },
    UpdateVersion {
        model: usize,
        number: u32,
        description: Option<u8>,
        stage: Option<Option<usize>>,
        tag: Option<Option<u8>>,
        demand: Demand,
    },
    Point {
        model: usize,
        alias: Option<usize>,
        number: u32,
        demand: Demand,
    },
    Unpoint {
        model: usize,
        alias: Option<usize>,
        demand: Demand,
    },
    Archive {
        model: usize,
        number: u32,
        archived: bool,
        demand: Demand,
    },
    DeleteVersion {
        model: usize,
        number: u32,
        demand: Demand,
    },
    DeleteModel {
        model: usize,
        demand: Demand,
    },
    Rename {
        model: usize,
        to: usize,
        demand: Demand,
    },
    /// Buffered, whatever is asked.
    Touch {
        model: usize,
        number: u32,
    },
    Evict {
        model: usize,
        number: u32,
        idle_ms: u64,
    },
}

fn text(number: u8) -> String {
    format!("t{number}")
}

pub fn artifact(bytes: usize) -> Vec<u8> {
    vec![7; bytes]
}

pub fn new() -> impl Strategy<Value = New> {
    let names = (prop::option::weighted(0.2, 0..2u8), prop::option::weighted(0.2, 0..2u8));
    let content = (
        prop::option::of(0..STAGES.len()),
        prop::option::of(0..4u8),
        prop_oneof![3 => Just(None), 2 => Just(Some(10)), 1 => Just(Some(20_000))],
        prop::option::of(0..2u8),
    );
    (any::<bool>(), prop::bool::weighted(0.9), names, content).prop_map(
        |(active, create, (label, external_id), (stage, f1, artifact, tag))| New {
            active,
            create,
            content: Version {
                stage: stage.map(|stage| STAGES[stage].to_owned()),
                f1,
                label: label.map(text),
                external_id: external_id.map(text),
                artifact,
                tag: tag.map(text),
                ..Version::default()
            },
        },
    )
}

pub fn op() -> impl Strategy<Value = Op> {
    // Mostly one model and its first versions, so that what is done meets what was done before.
    let model = || prop_oneof![4 => Just(0usize), 1 => 1..MODELS.len()];
    let number = || prop_oneof![3 => Just(1u32), 2 => Just(2), 1 => Just(3)];
    let demand = || prop_oneof![4 => Just(Demand::Any), 2 => Just(Demand::TheOneThere), 1 => Just(Demand::Another)];
    let alias = || prop::option::of(0..ALIASES.len());
    let word = || prop::option::of(0..3u8);
    let edit = || prop::option::of(prop::option::of(0..2u8));
    prop_oneof![
        2 => (model(), word(), prop::option::of(0..2u8)).prop_map(|(model, description, external_id)| Op::Create { model, description, external_id }),
        8 => (model(), new()).prop_map(|(model, new)| Op::Register { model, new }),
        2 => (model(), word(), edit(), prop::option::of(any::<bool>()), demand())
            .prop_map(|(model, description, tag, archived, demand)| Op::UpdateModel { model, description, tag, archived, demand }),
        2 => (model(), number(), word(), prop::option::of(prop::option::of(0..STAGES.len())), edit(), demand())
            .prop_map(|(model, number, description, stage, tag, demand)| Op::UpdateVersion { model, number, description, stage, tag, demand }),
        3 => (model(), alias(), number(), demand()).prop_map(|(model, alias, number, demand)| Op::Point { model, alias, number, demand }),
        1 => (model(), alias(), demand()).prop_map(|(model, alias, demand)| Op::Unpoint { model, alias, demand }),
        2 => (model(), number(), prop::bool::weighted(0.7), demand())
            .prop_map(|(model, number, archived, demand)| Op::Archive { model, number, archived, demand }),
        2 => (model(), number(), demand()).prop_map(|(model, number, demand)| Op::DeleteVersion { model, number, demand }),
        1 => (model(), demand()).prop_map(|(model, demand)| Op::DeleteModel { model, demand }),
        2 => (model(), model(), demand()).prop_map(|(model, to, demand)| Op::Rename { model, to, demand }),
        2 => (model(), number()).prop_map(|(model, number)| Op::Touch { model, number }),
        1 => (model(), number(), prop_oneof![Just(0u64), Just(50)]).prop_map(|(model, number, idle_ms)| Op::Evict { model, number, idle_ms }),
    ]
}

/// The same version for the store.
pub fn new_version(new: &New) -> NewVersion {
    let Version { stage, f1, label, external_id, artifact: bytes, tag, .. } = &new.content;
    let mut version = NewVersion::new().make_active(new.active).create_model(new.create);
    if let Some(stage) = stage {
        version = version.stage(stage);
    }
    if let Some(f1) = f1 {
        version = version.metric("f1", f64::from(*f1) / 2.0);
    }
    if let Some(label) = label {
        version = version.label(label);
    }
    if let Some(id) = external_id {
        version = version.external_id(id);
    }
    if let Some(bytes) = bytes {
        version = version.artifact(artifact(*bytes));
    }
    if let Some(tag) = tag {
        version = version.tag("team", tag);
    }
    version
}

/// Registers in a caller's transaction.
pub fn run_register(txn: &mut Transaction<'_>, model: usize, new: &New) -> ml_persistence::Result<()> {
    txn.registry().register_version(MODELS[model], new_version(new)).map(drop)
}

fn demanded(demand: Demand, there: Option<u64>) -> Option<u64> {
    match demand {
        Demand::Any => None,
        Demand::TheOneThere => there.or(Some(1)),
        Demand::Another => Some(there.map_or(1, |there| there + 1)),
    }
}

fn change(revision: Option<u64>) -> Change {
    revision.map_or(Change::new(), |revision| Change::new().expected_revision(revision))
}

/// Does one verb to both.
pub fn step(db: &MlPersistence, model: &mut Registry, now: u64, op: &Op) -> Agreement {
    let what = format!("{op:?}");
    let done = |got: ml_persistence::Result<()>, wanted: Answer<()>| same(&what, got, &wanted);
    let store = db.registry();
    let of_model = |registry: &Registry, place: usize, demand: Demand| {
        demanded(demand, registry.0.get(MODELS[place]).map(|model| model.revision))
    };
    let of_version = |registry: &Registry, place: usize, number: u32, demand: Demand| {
        let version = registry.0.get(MODELS[place]).and_then(|model| model.versions.get(&number));
        demanded(demand, version.map(|version| version.revision))
    };
    match op {
        Op::Create { model: place, description, external_id } => {
            let (description, external_id) = (description.map(text), external_id.map(text));
            let mut new = NewModel::new();
            if let Some(description) = &description {
                new = new.description(description);
            }
            if let Some(id) = &external_id {
                new = new.external_id(id);
            }
            let wanted = model.create(now, MODELS[*place], description.as_deref(), external_id.as_deref());
            done(store.create_model(MODELS[*place], new).map(drop), wanted)
        }
        Op::Register { model: place, new } => {
            let wanted = model.register(now, MODELS[*place], new);
            same(
                &what,
                store.register_version(MODELS[*place], new_version(new)).map(|version| version.version),
                &wanted,
            )
        }
        Op::UpdateModel { model: place, description, tag, archived, demand } => {
            let revision = of_model(model, *place, *demand);
            let (description, tag) = (description.map(text), tag.map(|tag| tag.map(text)));
            let mut update = ModelUpdate::new();
            if let Some(description) = &description {
                update = update.description(description);
            }
            match &tag {
                Some(Some(tag)) => update = update.set_tag("team", tag),
                Some(None) => update = update.delete_tag("team"),
                None => {}
            }
            if let Some(archived) = archived {
                update = update.archived(*archived);
            }
            if let Some(revision) = revision {
                update = update.expected_revision(revision);
            }
            let edit = (description.as_deref(), tag.as_ref().map(Option::as_deref), *archived);
            let wanted = model.update_model(now, MODELS[*place], revision, edit);
            done(store.update_model(MODELS[*place], update).map(drop), wanted)
        }
        Op::UpdateVersion { model: place, number, description, stage, tag, demand } => {
            let revision = of_version(model, *place, *number, *demand);
            let (description, tag) = (description.map(text), tag.map(|tag| tag.map(text)));
            let stage = stage.map(|stage| stage.map(|stage| STAGES[stage]));
            let mut update = VersionUpdate::new();
            if let Some(description) = &description {
                update = update.description(description);
            }
            match stage {
                Some(Some(stage)) => update = update.stage(stage),
                Some(None) => update = update.clear_stage(),
                None => {}
            }
            match &tag {
                Some(Some(tag)) => update = update.set_tag("team", tag),
                Some(None) => update = update.delete_tag("team"),
                None => {}
            }
            if let Some(revision) = revision {
                update = update.expected_revision(revision);
            }
            let edit = (description.as_deref(), stage, tag.as_ref().map(Option::as_deref));
            let wanted = model.update_version(now, MODELS[*place], *number, revision, edit);
            done(store.update_version(MODELS[*place], *number, update).map(drop), wanted)
        }
        Op::Point { model: place, alias, number, demand } => {
            let revision = of_model(model, *place, *demand);
            let alias = alias.map(|alias| ALIASES[alias]);
            let wanted = model.set_pointer(now, MODELS[*place], alias, *number, revision);
            let got = match alias {
                Some(alias) => store.set_alias(MODELS[*place], alias, *number, &change(revision)),
                None => store.activate(MODELS[*place], *number, &change(revision)),
            };
            done(got.map(drop), wanted)
        }
        Op::Unpoint { model: place, alias, demand } => {
            let revision = of_model(model, *place, *demand);
            match alias.map(|alias| ALIASES[alias]) {
                Some(alias) => {
                    let wanted = model.delete_alias(now, MODELS[*place], alias, revision);
                    done(store.delete_alias(MODELS[*place], alias, &change(revision)).map(drop), wanted)
                }
                None => {
                    let wanted = model.deactivate(now, MODELS[*place], revision);
                    done(store.deactivate(MODELS[*place], &change(revision)).map(drop), wanted)
                }
            }
        }
        Op::Archive { model: place, number, archived, demand } => {
            let revision = of_version(model, *place, *number, *demand);
            let wanted = model.set_archived(now, MODELS[*place], *number, *archived, revision);
            let got = match archived {
                true => store.archive(MODELS[*place], *number, &change(revision)),
                false => store.unarchive(MODELS[*place], *number, &change(revision)),
            };
            done(got.map(drop), wanted)
        }
        Op::DeleteVersion { model: place, number, demand } => {
            let revision = of_version(model, *place, *number, *demand);
            let wanted = model.delete_version(now, MODELS[*place], *number, revision);
            done(store.delete_version(MODELS[*place], *number, &change(revision)), wanted)
        }
        Op::DeleteModel { model: place, demand } => {
            let revision = of_model(model, *place, *demand);
            let wanted = model.delete_model(MODELS[*place], revision);
            same(&what, store.delete_model(MODELS[*place], &change(revision)), &wanted)
        }
        Op::Rename { model: place, to, demand } => {
            let revision = of_model(model, *place, *demand);
            let wanted = model.rename(now, MODELS[*place], MODELS[*to], revision);
            done(store.rename_model(MODELS[*place], MODELS[*to], &change(revision)).map(drop), wanted)
        }
        Op::Touch { model: place, number } => {
            let wanted = model.touch(now, MODELS[*place], *number);
            done(store.touch(MODELS[*place], *number), wanted)
        }
        Op::Evict { model: place, number, idle_ms } => {
            let idle_since = now.saturating_sub(*idle_ms);
            let wanted = model.evict(now, MODELS[*place], *number, idle_since);
            same(&what, store.evict_if_idle_since(MODELS[*place], *number, idle_since), &wanted)
        }
    }
}
