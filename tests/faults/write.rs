//! Every public write, as a list. A write that is added to the crate fails the test in surface.rs until it is here.

use ml_persistence::kv::{KeyValue, KvWrite};
use ml_persistence::registry::{ModelUpdate, NewModel, VersionUpdate};
use ml_persistence::{
    Change, ClaimRequest, Json, Lease, MlPersistence, NewJob, NewVersion, Query, Replica, RestorePoint, Result, Token,
};
use serde_json::json;

use super::ground::Ground;
use super::scene::{Base, CANCELLED, HELD, Indexed, Item, LINED, Scene, item};

/// What is promised of a write that was acknowledged, and of one that was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// Durable when acknowledged; all of it or nothing otherwise.
    AllOrNothing,
    /// Visible when acknowledged, durable with the next sync; all of it or nothing.
    Buffered,
    /// Durable when acknowledged; otherwise done in part, and a repetition does the rest.
    Steps,
}

/// The store that a write is done to.
#[allow(clippy::large_enum_variant)] // One of them at a time, in a test.
pub enum Subject {
    Store(MlPersistence),
    Replica(Option<Replica>),
}

/// What a write needs in hand: the store, and two jobs that were claimed in it.
pub struct Hand {
    pub subject: Subject,
    leases: Vec<Lease>,
    tokens: Vec<Token>,
    ground: Ground,
}

impl Hand {
    pub fn new(ground: &Ground, base: Base, subject: Subject) -> Self {
        let mut hand = Hand { subject, leases: Vec::new(), tokens: Vec::new(), ground: ground.clone() };
        if base != Base::Replica {
            let db = hand.db();
            db.collection::<Item>().unwrap();
            let leases = db.jobs().claim(&["held"], 2).unwrap();
            assert_eq!(leases.len(), 2);
            hand.tokens = leases.iter().map(Lease::token).collect();
            hand.leases = leases;
        }
        hand
    }

    pub fn db(&self) -> MlPersistence {
        match &self.subject {
            Subject::Store(db) => db.clone(),
            Subject::Replica(replica) => (**replica.as_ref().expect("not promoted yet")).clone(),
        }
    }

    fn replica(&self) -> &Replica {
        match &self.subject {
            Subject::Replica(Some(replica)) => replica,
            _ => panic!("a write of a replica"),
        }
    }

    fn token(&self) -> &Token {
        &self.tokens[0]
    }

    fn lease(&mut self) -> Lease {
        self.leases.remove(0)
    }

    /// Lets go of what is held without a word to the store.
    pub fn let_go(&mut self) {
        self.leases.drain(..).for_each(|lease| drop(lease.into_parts()));
    }
}

macro_rules! writes {
    ($($name:ident $promise:ident $base:ident [$($covers:literal)*] $run:expr;)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Write {
            $($name,)*
        }

        impl Write {
            pub const ALL: &[Write] = &[$(Write::$name,)*];

            /// The public functions that it calls.
            pub fn covers(self) -> &'static [&'static str] {
                match self {
                    $(Write::$name => &[$($covers,)*],)*
                }
            }

            pub fn promise(self) -> Promise {
                match self {
                    $(Write::$name => Promise::$promise,)*
                }
            }

            pub fn base(self) -> Base {
                match self {
                    $(Write::$name => Base::$base,)*
                }
            }

            pub fn run(self, hand: &mut Hand) -> Result<()> {
                fn typed(run: impl FnOnce(&mut Hand) -> Result<()>, hand: &mut Hand) -> Result<()> {
                    run(hand)
                }
                match self {
                    $(Write::$name => typed($run, hand),)*
                }
            }
        }
    };
}

fn value() -> Json {
    Json::from(json!("new"))
}

fn large() -> Json {
    Json::from(json!("new".repeat(12_000)))
}

fn version() -> NewVersion {
    NewVersion::new().artifact(vec![9; 20_000]).stage("live")
}

fn job() -> NewJob {
    NewJob::new("line", "k").payload(json!("q".repeat(17_000)))
}

fn request() -> ClaimRequest {
    ClaimRequest::new(["line"])
}

fn change() -> Change {
    Change::new().by("ann")
}

writes! {
    // Values.
    KvPut AllOrNothing Plain ["Kv::put" "Namespace::put"] |hand| hand.db().namespace("n")?.put("a", "new");
    KvPutLarge AllOrNothing Plain ["Kv::put"] |hand| hand.db().kv().put("n", "a", &large());
    KvDelete AllOrNothing Plain ["Kv::delete" "Namespace::delete"] |hand| hand.db().namespace("n")?.delete("large");
    KvBatch AllOrNothing Plain ["Kv::batch"] |hand| hand.db().kv().batch(&[
        KvWrite::Put { namespace: "new".to_owned(), key: "k".to_owned(), value: large() },
        KvWrite::Delete { namespace: "n".to_owned(), key: "a".to_owned() },
    ]);
    KvClear AllOrNothing Plain ["Kv::clear" "Namespace::clear"] |hand| hand.db().namespace("n")?.clear().map(drop);
    KvInTransaction AllOrNothing Plain ["MlPersistence::transact" "KvTxn::put" "KvTxn::delete"] |hand| {
        hand.db().transact(|txn| {
            txn.kv().put("new", "k", &value())?;
            txn.kv().delete("n", "a")
        })
    };

    // Host collections.
    CollectionOpen Steps Plain ["MlPersistence::collection"] |hand| hand.db().collection::<Indexed>().map(drop);
    CollectionBuild Steps Plain ["Collection::build" "Collection::build_step"] |hand| {
        let collection = hand.db().collection::<Indexed>()?;
        collection.build_step()?;
        collection.build()
    };
    ItemInsert AllOrNothing Plain ["Collection::insert"] |hand| {
        hand.db().collection::<Item>()?.insert(item(9, "new")).map(drop)
    };
    ItemSave AllOrNothing Plain ["Collection::save"] |hand| hand.db().collection::<Item>()?.save(item(1, "new")).map(drop);
    ItemUpdate AllOrNothing Plain ["Collection::update"] |hand| {
        hand.db().collection::<Item>()?.update(item(1, "new"), 1).map(drop)
    };
    ItemDelete AllOrNothing Plain ["Collection::delete"] |hand| hand.db().collection::<Item>()?.delete(&1).map(drop);
    ItemDeleteWhere AllOrNothing Plain ["Collection::delete_where"] |hand| {
        hand.db().collection::<Item>()?.delete_where(&Query::new().eq("kind", "odd")).map(drop)
    };
    ItemsInTransaction AllOrNothing Plain [
        "CollectionTxn::insert" "CollectionTxn::save" "CollectionTxn::update" "CollectionTxn::delete"
        "CollectionTxn::delete_revision"
    ] |hand| hand.db().transact(|txn| {
        let mut items = txn.collection::<Item>()?;
        items.insert(item(8, "new"))?;
        items.save(item(9, "new"))?;
        items.update(item(1, "new"), 1)?;
        items.delete(&0)?;
        items.delete_revision(&2, 1)
    });

    // The registry.
    CreateModel AllOrNothing Plain ["Registry::create_model"] |hand| {
        hand.db().registry().create_model("new", NewModel::new().tag("a", "b")).map(drop)
    };
    RegisterVersion AllOrNothing Plain ["Registry::register_version"] |hand| {
        hand.db().registry().register_version("spam", version()).map(drop)
    };
    UpdateModel AllOrNothing Plain ["Registry::update_model"] |hand| {
        hand.db().registry().update_model("spam", ModelUpdate::new().description("new").archived(true)).map(drop)
    };
    UpdateVersion AllOrNothing Plain ["Registry::update_version"] |hand| {
        hand.db().registry().update_version("spam", 1, VersionUpdate::new().stage("live").set_tag("a", "b")).map(drop)
    };
    Activate AllOrNothing Plain ["Registry::activate"] |hand| hand.db().registry().activate("spam", 1, &change()).map(drop);
    Deactivate AllOrNothing Plain ["Registry::deactivate"] |hand| {
        hand.db().registry().deactivate("spam", &change()).map(drop)
    };
    Archive AllOrNothing Plain ["Registry::archive"] |hand| hand.db().registry().archive("spam", 1, &change()).map(drop);
    Unarchive AllOrNothing Plain ["Registry::unarchive"] |hand| {
        hand.db().registry().unarchive("spam", 3, &change()).map(drop)
    };
    DeleteVersion AllOrNothing Plain ["Registry::delete_version"] |hand| {
        hand.db().registry().delete_version("spam", 1, &change())
    };
    SetAlias AllOrNothing Plain ["Registry::set_alias"] |hand| {
        hand.db().registry().set_alias("spam", "prod", 2, &change()).map(drop)
    };
    DeleteAlias AllOrNothing Plain ["Registry::delete_alias"] |hand| {
        hand.db().registry().delete_alias("spam", "prod", &change()).map(drop)
    };
    DeleteModel AllOrNothing Plain ["Registry::delete_model" "Registry::delete_model_with"] |hand| {
        hand.db().registry().delete_model("spam", &change()).map(drop)
    };
    RenameModel AllOrNothing Plain ["Registry::rename_model" "Registry::rename_model_with"] |hand| {
        hand.db().registry().rename_model("spam", "renamed", &change()).map(drop)
    };
    Touch Buffered Plain ["Registry::touch" "Registry::touch_all"] |hand| {
        hand.ground.clock.advance(1);
        hand.db().registry().touch("spam", 1)
    };
    Evict AllOrNothing Plain ["Registry::evict_if_idle_since"] |hand| {
        hand.db().registry().evict_if_idle_since("spam", 1, u64::MAX).map(drop)
    };
    SweepLeftovers Steps Plain ["Registry::sweep_leftovers" "Registry::recover"] |hand| {
        // Leaves something behind that the sweep has to find.
        hand.db().registry().transact(|registry| registry.delete_model("eggs", &Change::new()))?;
        hand.db().registry().recover()?;
        hand.db().registry().sweep_leftovers(1_000).map(drop)
    };
    RegistryInTransaction AllOrNothing Plain [
        "Registry::transact" "RegistryTxn::create_model" "RegistryTxn::register_version" "RegistryTxn::update_model"
        "RegistryTxn::update_version" "RegistryTxn::activate" "RegistryTxn::deactivate" "RegistryTxn::archive"
        "RegistryTxn::unarchive" "RegistryTxn::delete_version" "RegistryTxn::set_alias" "RegistryTxn::delete_alias"
        "RegistryTxn::delete_model" "RegistryTxn::rename_model" "RegistryTxn::touch" "RegistryTxn::evict_if_idle_since"
    ] |hand| hand.db().registry().transact(|registry| {
        registry.create_model("new", NewModel::new())?;
        registry.register_version("new", version())?;
        registry.register_version("new", version())?;
        registry.update_model("new", ModelUpdate::new().description("new"))?;
        registry.update_version("spam", 2, VersionUpdate::new().description("new"))?;
        registry.activate("spam", 1, &change())?;
        registry.deactivate("new", &change())?;
        registry.archive("spam", 1, &change())?;
        registry.unarchive("spam", 3, &change())?;
        registry.delete_version("new", 2, &change())?;
        registry.set_alias("spam", "next", 2, &change())?;
        registry.delete_alias("spam", "prod", &change())?;
        registry.touch("spam", 3)?;
        registry.evict_if_idle_since("spam", 1, u64::MAX)?;
        registry.rename_model("spam", "renamed", &change())?;
        registry.delete_model("eggs", &change()).map(drop)
    });

    // The queue.
    Enqueue AllOrNothing Plain ["Jobs::enqueue"] |hand| hand.db().jobs().enqueue(job()).map(drop);
    EnqueueBatch AllOrNothing Plain ["Jobs::enqueue_batch"] |hand| {
        hand.db().jobs().enqueue_batch(&[job(), job().unique_key("v")]).map(drop)
    };
    Claim Steps Plain ["Jobs::claim" "Jobs::claim_with" "Jobs::claim_wait"] |hand| {
        let claimed = hand.db().jobs().claim_wait(&request().limit(2), 0)?;
        claimed.into_iter().for_each(|lease| drop(lease.into_parts()));
        Ok(())
    };
    Heartbeat AllOrNothing Plain ["Jobs::heartbeat"] |hand| hand.db().jobs().heartbeat(hand.token(), Some(5_000)).map(drop);
    Progress AllOrNothing Plain ["Jobs::progress"] |hand| hand.db().jobs().progress(hand.token(), Some(50), Some(large()));
    Complete AllOrNothing Plain ["Jobs::complete"] |hand| {
        hand.db().jobs().complete(hand.token(), Some(large())).map(drop)
    };
    CompleteWith AllOrNothing Plain ["Jobs::complete_with"] |hand| {
        hand.db().jobs().complete_with(hand.token(), |txn| {
            txn.registry().register_version("spam", version())?;
            txn.kv().put("n", "a", &value())
        })
    };
    CompleteWithResult AllOrNothing Plain ["Jobs::complete_with_result"] |hand| {
        hand.db().jobs().complete_with_result(hand.token(), value(), |txn| txn.kv().put("n", "a", &value()))
    };
    CompleteAndClaim Steps Plain ["Jobs::complete_and_claim"] |hand| {
        let claimed = hand.db().jobs().complete_and_claim(hand.token(), None, &request())?;
        claimed.into_iter().for_each(|lease| drop(lease.into_parts()));
        Ok(())
    };
    Fail AllOrNothing Plain ["Jobs::fail"] |hand| hand.db().jobs().fail(hand.token(), Some("e"), Some(9)).map(drop);
    Snooze AllOrNothing Plain ["Jobs::snooze"] |hand| hand.db().jobs().snooze(hand.token(), 9).map(drop);
    Release AllOrNothing Plain ["Jobs::release"] |hand| hand.db().jobs().release(hand.token()).map(drop);
    Discard AllOrNothing Plain ["Jobs::discard"] |hand| hand.db().jobs().discard(hand.token(), None).map(drop);
    Cancel AllOrNothing Plain ["Jobs::cancel"] |hand| hand.db().jobs().cancel(LINED).map(drop);
    CancelHeld AllOrNothing Plain ["Jobs::cancel"] |hand| hand.db().jobs().cancel(HELD[0]).map(drop);
    Retry AllOrNothing Plain ["Jobs::retry"] |hand| hand.db().jobs().retry(CANCELLED).map(drop);
    Maintain Steps Plain ["Jobs::maintain"] |hand| {
        hand.ground.clock.advance(100_000);
        hand.db().jobs().maintain().map(drop)
    };
    Prune Steps Plain ["Jobs::prune"] |hand| hand.db().jobs().prune(None, Some(0)).map(drop);
    Pause AllOrNothing Plain ["Jobs::pause"] |hand| hand.db().jobs().pause("line");
    Resume AllOrNothing Plain ["Jobs::resume"] |hand| hand.db().jobs().resume("paused");
    ReleaseAll Steps Plain ["Jobs::release_all_on_close"] |hand| hand.db().jobs().release_all_on_close().map(drop);
    JobsInTransaction AllOrNothing Plain [
        "MlPersistence::transact_with" "JobsTxn::enqueue" "JobsTxn::enqueue_batch" "JobsTxn::complete"
        "JobsTxn::progress" "JobsTxn::fail" "JobsTxn::cancel" "JobsTxn::retry"
    ] |hand| {
        let tokens = hand.tokens.clone();
        hand.db().transact_with(ml_persistence::Durability::PowerLoss, |txn| {
            let mut jobs = txn.jobs();
            jobs.enqueue(job())?;
            jobs.enqueue_batch(&[job()])?;
            jobs.progress(&tokens[0], Some(9), None)?;
            jobs.complete(&tokens[0], None)?;
            jobs.fail(&tokens[1], None, None)?;
            jobs.cancel(LINED)?;
            jobs.retry(CANCELLED).map(drop)
        })
    };
    JobsGivenBackInTransaction AllOrNothing Plain ["JobsTxn::snooze" "JobsTxn::release"] |hand| {
        let tokens = hand.tokens.clone();
        hand.db().transact(|txn| {
            txn.jobs().snooze(&tokens[0], 7)?;
            txn.jobs().release(&tokens[1]).map(drop)
        })
    };
    JobDiscardedInTransaction AllOrNothing Plain ["JobsTxn::discard"] |hand| {
        let token = *hand.token();
        hand.db().transact(|txn| txn.jobs().discard(&token, Some("no")).map(drop))
    };

    // Leases.
    LeaseHeartbeat AllOrNothing Plain ["Lease::heartbeat"] |hand| hand.leases[0].heartbeat().map(drop);
    LeaseProgress AllOrNothing Plain ["Lease::progress"] |hand| hand.leases[0].progress(7);
    LeaseCheckpoint AllOrNothing Plain ["Lease::checkpoint"] |hand| hand.leases[0].checkpoint(value());
    LeaseComplete AllOrNothing Plain ["Lease::complete"] |hand| hand.lease().complete(value()).map(drop);
    LeaseCompleteWith AllOrNothing Plain ["Lease::complete_with"] |hand| {
        hand.lease().complete_with(|txn| txn.kv().put("n", "a", &value()))
    };
    LeaseCompleteWithResult AllOrNothing Plain ["Lease::complete_with_result"] |hand| {
        hand.lease().complete_with_result(value(), |txn| txn.kv().put("n", "a", &value()))
    };
    LeaseCompleteAndClaim Steps Plain ["Lease::complete_and_claim"] |hand| {
        let claimed = hand.lease().complete_and_claim(value(), &request())?;
        claimed.into_iter().for_each(|lease| drop(lease.into_parts()));
        Ok(())
    };
    LeaseFail AllOrNothing Plain ["Lease::fail"] |hand| hand.lease().fail("e").map(drop);
    LeaseRetryIn AllOrNothing Plain ["Lease::retry_in"] |hand| hand.lease().retry_in(9, "e").map(drop);
    LeaseSnooze AllOrNothing Plain ["Lease::snooze"] |hand| hand.lease().snooze(9).map(drop);
    LeaseRelease AllOrNothing Plain ["Lease::release"] |hand| hand.lease().release().map(drop);
    LeaseDiscard AllOrNothing Plain ["Lease::discard"] |hand| hand.lease().discard("no").map(drop);

    // The store as a whole.
    Sync AllOrNothing Plain ["MlPersistence::sync"] |hand| hand.db().sync().map(drop);
    Checkpoint AllOrNothing Plain ["MlPersistence::checkpoint"] |hand| hand.db().checkpoint();
    Repair Steps Damaged ["MlPersistence::repair" "MlPersistence::repair_with"] |hand| hand.db().repair().map(drop);
    DiscardQuarantined AllOrNothing Plain ["MlPersistence::discard_quarantined"] |hand| {
        let id = hand.db().quarantine(None, 1)?.entries.first().expect("one is there").id.clone();
        hand.db().discard_quarantined(&id).map(drop)
    };
    Close Steps Plain ["MlPersistence::close"] |hand| {
        hand.let_go();
        hand.db().close()
    };
    Export AllOrNothing Plain ["MlPersistence::export_snapshot" "MlPersistence::export_snapshot_with"] |hand| {
        hand.db().export_snapshot(Scene::the().file("out.mlsnap"), None).map(drop)
    };
    Import AllOrNothing Plain ["MlPersistence::import_snapshot" "MlPersistence::import_snapshot_with"] |hand| {
        hand.db().import_snapshot(Scene::the().file("full.mlsnap"), true).map(drop)
    };
    RestoreInto AllOrNothing Plain ["MlPersistence::restore_into"] |hand| {
        // Into a folder elsewhere; this store only reads.
        let full = Scene::the().file("own.mlsnap");
        hand.db().export_snapshot(&full, None)?;
        let elsewhere = tempfile::tempdir().expect("a folder for the test");
        let target = MlPersistence::builder(elsewhere.path().join("db")).engine(ml_persistence::EngineKind::Memory);
        let until = RestorePoint::Cursor(hand.db().cursor());
        hand.db().restore_into(target, &full, until).map(drop)
    };

    // Replicas.
    ApplyDelta AllOrNothing Replica ["Replica::apply" "Replica::apply_with"] |hand| {
        hand.replica().apply(Scene::the().file("delta.mlsnap")).map(drop)
    };
    Follow AllOrNothing Replica ["Replica::follow" "Replica::follow_with"] |hand| hand.replica().follow(Scene::the().folder().join("follow")).map(drop);
    Promote AllOrNothing Replica ["Replica::promote"] |hand| {
        let Subject::Replica(replica) = &mut hand.subject else { panic!("a write of a replica") };
        let db = replica.take().expect("promoted once").promote()?;
        hand.subject = Subject::Store(db);
        Ok(())
    };
}
