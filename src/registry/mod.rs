//! The model registry: models, immutable numbered versions, the pointers between them, and their artifacts.
//!
//! ```text
//!   model `spam` ── last_version 3 ── versions  spam@v1  spam@v2  spam@v3      numbers from 1, never given out twice
//!        │                                        ▲          ▲
//!        ├── active version ──────────────────────┼──────────┘                 at most one
//!        └── aliases   prod ──────────────────────┘                            any number of names, at most 256
//!
//!   version:  live ──archive──> archived (loses every pointer)    archived ──unarchive──> live (gets none back)
//!             live | archived ──delete──> gone, with its pointers and its share of the artifact
//! ```
//!
//! It promises that a version, its number, the pointers, the counts, the indexes and the artifact change together or
//! not at all; that no pointer leads to an archived or a missing version; and that numbers of one model are dense and
//! unique however many threads register. What is registered as content (metrics, hyperparameters, artifact, source,
//! run, parent, training-data hash) never changes; description, tags, properties and stage do.
//!
//! It refuses to interpret: stages, sources and URIs are the host's words, and `archived` on a model is only a mark.
//!
//! Every acknowledged write raises the revision of what it changed, also when it says what was so already. The one
//! exception is deleting a missing alias, which changes nothing at all.
//!
//! Each write is a verb of [`RegistryTxn`] in a file of its own; [`Registry`] wraps one transaction around it.

mod activate;
mod archive;
mod artifact;
mod change;
mod create_model;
mod deactivate;
mod delete_alias;
mod delete_model;
mod delete_version;
mod endings;
mod entries;
mod evict;
mod filter;
mod history;
mod leftovers;
mod list;
mod model;
mod name;
mod page;
mod pointers;
mod property;
mod read;
mod record;
mod register_version;
mod rename_model;
mod repair;
mod row;
mod search;
mod set_alias;
mod sweep;
#[cfg(test)]
mod tests;
mod touch;
mod tracks;
mod txn;
mod unarchive;
mod update_model;
mod update_version;
mod verify;
mod version;

use crate::base64;
use crate::config::Durability;
use crate::error::Result;
use crate::record::{RecordStore, Transaction};
use record::{ModelRecord, VersionRecord};

pub use artifact::{ARTIFACT_BYTES_MAX, Artifact, ArtifactContent, Sha256};
pub use change::Change;
pub use entries::RECORD_BYTES_MAX;
pub use filter::{FILTER_BYTES_MAX, FILTER_DEPTH_MAX, FILTER_LIST_MAX, FILTER_TESTS_MAX, PATTERN_BYTES_MAX};
pub use model::{Model, ModelUpdate, NewModel};
pub use name::{
    ALIAS_BYTES_MAX, DESCRIPTION_BYTES_MAX, ENTRY_KEY_BYTES_MAX, LATEST, NAME_BYTES_MAX, SHORT_BYTES_MAX,
    STAGE_BYTES_MAX, URI_BYTES_MAX,
};
pub use page::{DamagedRow, ModelPage, PAGE_SIZE_MAX, PageRequest, VersionPage};
pub use pointers::{ALIASES_MAX, MOVES_KEPT, MoveFilter, Pointer, PointerMove};
pub use property::Property;
pub use read::{ModelCounts, Summary, VersionCounts};
pub use rename_model::RENAME_IN_TRANSACTION_MAX;
pub(crate) use repair::{claim, repair};
pub use search::{Plan, SearchRequest};
pub use sweep::{MoveProgress, MoveStep, Swept};
pub use txn::{LATEST_IN_TRANSACTION_MAX, RegistryTxn};
pub use verify::verify;
pub use version::{NewVersion, Version, VersionRef, VersionUpdate};

/// The model registry of a store. A cheap clone.
#[derive(Debug, Clone)]
pub struct Registry {
    store: RecordStore,
    durability: Durability,
    due: sweep::Due,
}

/// Writes: each is one transaction around the verb of the same name on [`RegistryTxn`], which documents its errors.
/// Beyond those, any of them answers what [`Engine::transact`](crate::engine::Engine::transact) does.
impl Registry {
    /// The registry over this store, with power-loss durability. A store has one: its clones share what they know of
    /// each other's sweeps.
    #[must_use]
    pub fn new(store: RecordStore) -> Self {
        Registry { store, durability: Durability::PowerLoss, due: sweep::Due::default() }
    }

    /// The same registry, whose writes return with this durability.
    #[must_use]
    pub fn with_durability(&self, durability: Durability) -> Self {
        Registry { durability, ..self.clone() }
    }

    /// Runs several verbs in one transaction.
    ///
    /// # Errors
    /// The first that a verb hands on, and what a commit can answer.
    pub fn transact<T>(&self, verbs: impl FnMut(&mut RegistryTxn<'_, '_>) -> Result<T>) -> Result<T> {
        self.write(verbs)
    }

    fn write<T>(&self, mut verb: impl FnMut(&mut RegistryTxn<'_, '_>) -> Result<T>) -> Result<T> {
        let outcome = self.store.transact(self.durability, |txn: &mut Transaction<'_>| verb(&mut txn.registry()));
        self.sweep_behind_write();
        outcome
    }

    /// Creates a model without versions.
    ///
    /// # Errors
    /// As [`RegistryTxn::create_model`].
    pub fn create_model(&self, name: &str, new: NewModel) -> Result<Model> {
        self.write(|registry| registry.create_model(name, &new))
    }

    /// Changes what is said about a model.
    ///
    /// # Errors
    /// As [`RegistryTxn::update_model`].
    pub fn update_model(&self, name: &str, update: ModelUpdate) -> Result<Model> {
        self.write(|registry| registry.update_model(name, &update))
    }

    /// Registers a version under the model's next number.
    ///
    /// # Errors
    /// As [`RegistryTxn::register_version`].
    pub fn register_version(&self, model: &str, new: NewVersion) -> Result<Version> {
        self.write(|registry| registry.register_version(model, &new))
    }

    /// Changes what is said about a version.
    ///
    /// # Errors
    /// As [`RegistryTxn::update_version`].
    pub fn update_version(&self, model: &str, number: u32, update: VersionUpdate) -> Result<Version> {
        self.write(|registry| registry.update_version(model, number, &update))
    }

    /// Makes a version the active one of its model.
    ///
    /// # Errors
    /// As [`RegistryTxn::activate`].
    pub fn activate(&self, model: &str, number: u32, change: &Change) -> Result<Model> {
        self.write(|registry| registry.activate(model, number, change))
    }

    /// Leaves the model without an active version.
    ///
    /// # Errors
    /// As [`RegistryTxn::deactivate`].
    pub fn deactivate(&self, model: &str, change: &Change) -> Result<Model> {
        self.write(|registry| registry.deactivate(model, change))
    }

    /// Archives a version, and takes every pointer away from it.
    ///
    /// # Errors
    /// As [`RegistryTxn::archive`].
    pub fn archive(&self, model: &str, number: u32, change: &Change) -> Result<Version> {
        self.write(|registry| registry.archive(model, number, change))
    }

    /// Takes an archived version out again.
    ///
    /// # Errors
    /// As [`RegistryTxn::unarchive`].
    pub fn unarchive(&self, model: &str, number: u32, change: &Change) -> Result<Version> {
        self.write(|registry| registry.unarchive(model, number, change))
    }

    /// Deletes a version for good.
    ///
    /// # Errors
    /// As [`RegistryTxn::delete_version`].
    pub fn delete_version(&self, model: &str, number: u32, change: &Change) -> Result<()> {
        self.write(|registry| registry.delete_version(model, number, change))
    }

    /// Points an alias at a version.
    ///
    /// # Errors
    /// As [`RegistryTxn::set_alias`].
    pub fn set_alias(&self, model: &str, alias: &str, number: u32, change: &Change) -> Result<Model> {
        self.write(|registry| registry.set_alias(model, alias, number, change))
    }

    /// Deletes an alias; a missing one changes nothing.
    ///
    /// # Errors
    /// As [`RegistryTxn::delete_alias`].
    pub fn delete_alias(&self, model: &str, alias: &str, change: &Change) -> Result<Model> {
        self.write(|registry| registry.delete_alias(model, alias, change))
    }
}

/// Reads: each is one point in time. All of them answer `Invalid` for what can't be a name, and `Corrupt` for damage.
impl Registry {
    /// The model, or `None`.
    ///
    /// # Errors
    /// `Invalid`, `Corrupt`, and what the engine answers.
    pub fn get_model(&self, name: &str) -> Result<Option<Model>> {
        name::check_model_name(name)?;
        self.store.read(|view| Ok(read::model(view, name)?.map(Model::of)))
    }

    /// The model that a registry on top knows by this id, or `None`.
    ///
    /// # Errors
    /// `Invalid`, `Corrupt`, and what the engine answers.
    pub fn model_by_external_id(&self, id: &str) -> Result<Option<Model>> {
        name::check_external_id(id)?;
        self.store.read(|view| read::model_by_external_id(view, id))
    }

    /// A page of models, by name in the order of its bytes.
    ///
    /// # Errors
    /// `Invalid` for a size or token out of bounds, and what the engine answers. Damaged rows are in the page.
    pub fn list_models(&self, page: &PageRequest) -> Result<ModelPage> {
        self.search_models(&SearchRequest::page(page))
    }

    /// The version, or `None` when it, its alias, its label or its model does not exist. The alias `latest` is the
    /// highest version not archived that can be read: one that can't be read is `Corrupt` under its own number, named
    /// by listings and verify, and hides none of those below it.
    ///
    /// # Errors
    /// `Invalid`, `Corrupt`, and what the engine answers.
    pub fn get(&self, model: &str, version: impl Into<VersionRef>) -> Result<Option<Version>> {
        let version = version.into();
        version.check(model)?;
        self.store.read(|view| read::version(view, model, &version))
    }

    /// The version that a registry on top knows by this id, or `None`.
    ///
    /// # Errors
    /// `Invalid`, `Corrupt`, and what the engine answers.
    pub fn version_by_external_id(&self, id: &str) -> Result<Option<Version>> {
        name::check_external_id(id)?;
        self.store.read(|view| read::version_by_external_id(view, id))
    }

    /// The highest version of a stage that is not archived and can be read, or `None`. One index entry is read, however
    /// many versions there are.
    ///
    /// # Errors
    /// `Invalid`, `Corrupt`, and what the engine answers.
    pub fn latest_in_stage(&self, model: &str, stage: &str) -> Result<Option<Version>> {
        name::check_model(model)?;
        name::check_stage(stage)?;
        self.store.read(|view| read::latest_in_stage(view, model, stage))
    }

    /// A page of a model's versions, in the order of their numbers.
    ///
    /// # Errors
    /// `NotFound` for a missing model; `Invalid` for a size or token out of bounds, and what the engine answers. Damaged
    /// rows are in the page.
    pub fn list_versions(&self, model: &str, page: &PageRequest) -> Result<VersionPage> {
        self.search_versions(&SearchRequest::page(page).in_model(model))
    }

    /// A page of the versions of all models, by model and number.
    ///
    /// # Errors
    /// As [`Registry::list_versions`].
    pub fn list_all_versions(&self, page: &PageRequest) -> Result<VersionPage> {
        self.search_versions(&SearchRequest::page(page))
    }

    /// A page of the models that a filter selects, in an order.
    ///
    /// ```
    /// use ml_persistence::registry::{NewModel, SearchRequest};
    /// # let db = ml_persistence::MlPersistence::in_memory().open()?;
    /// let registry = db.registry();
    /// registry.create_model("spam", NewModel::new().tag("team", "mail"))?;
    /// registry.create_model("cats", NewModel::new())?;
    /// let page = registry.search_models(&SearchRequest::new().filter("tags.team = 'mail'"))?;
    /// assert_eq!(page.models[0].name, "spam");
    /// # Ok::<(), ml_persistence::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` for a filter that does not parse or names unknown fields (with the place), an order by what has no
    /// index, a size out of bounds, and the token of another search; and what the engine answers. Damaged rows are in
    /// the page.
    pub fn search_models(&self, request: &SearchRequest) -> Result<ModelPage> {
        let request = request.checked::<ModelRecord>()?;
        self.store.read(|view| search::models(view, &request))
    }

    /// A page of the versions that a filter selects, of one model or of all, in an order.
    ///
    /// # Errors
    /// As [`Registry::search_models`], and `NotFound` for a missing model.
    pub fn search_versions(&self, request: &SearchRequest) -> Result<VersionPage> {
        let request = request.checked::<VersionRecord>()?;
        self.store.read(|view| search::versions(view, &request))
    }

    /// The version's artifact: its bytes, checked against their hash, or where they are; `None` when it has none.
    ///
    /// # Errors
    /// `NotFound` for a missing model or version; `Corrupt` for bytes that are not those that were registered.
    pub fn artifact(&self, model: &str, version: impl Into<VersionRef>) -> Result<Option<ArtifactContent>> {
        let version = version.into();
        version.check(model)?;
        self.store.read(|view| read::artifact(view, model, &version))
    }

    /// The moves of a model's pointers that `filter` asks for, newest first. The newest [`MOVES_KEPT`] of the active
    /// pointer are kept, those of each alias that stands, and about as many of all aliases together that were deleted.
    ///
    /// Asked for a day, it answers the move that was a pointer's last then, and no move for a pointer that did not
    /// exist, or was deleted by then and is forgotten. Where it pointed on a day before what is kept is an error, and
    /// never looks like that.
    ///
    /// # Errors
    /// `Invalid` for what can't be an alias; `NotFound` for a missing model, and for a day that is no longer kept of a
    /// pointer that is asked for (the message says which); `Corrupt`.
    pub fn alias_history(&self, model: &str, filter: &MoveFilter) -> Result<Vec<PointerMove>> {
        name::check_model(model)?;
        if let Some(Pointer::Alias(alias)) = &filter.pointer {
            name::check_alias_syntax(alias)?;
        }
        self.store.read(|view| {
            let holder = read::model(view, model)?.ok_or_else(|| txn::no_such_model(model))?;
            history::moves(view, &holder, filter)
        })
    }

    /// How many versions a model has, from its counters.
    ///
    /// # Errors
    /// `NotFound` for a missing model; `Corrupt`.
    pub fn version_counts(&self, model: &str) -> Result<VersionCounts> {
        name::check_model(model)?;
        self.store.read(|view| read::version_counts(view, model))
    }

    /// The whole registry in numbers, from its counters: nothing is scanned.
    ///
    /// # Errors
    /// `Corrupt`, and what the engine answers.
    pub fn summary(&self) -> Result<Summary> {
        self.store.read(read::summary)
    }
}
