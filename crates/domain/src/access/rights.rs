//! Rights: which actions on which resources. They are written as scopes, such as `member:read` or `change_set:approve`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What can be acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Members, their history included.
    Members,
    /// Uploads, their issues and originals.
    Uploads,
    /// Change sets and their changes.
    ChangeSets,
    /// Whether somebody is eligible.
    Eligibility,
    /// Feeds.
    Feeds,
    /// The log.
    Events,
    /// The organisation's settings.
    Settings,
    /// Webhooks.
    Webhooks,
    /// Keys.
    Keys,
}

impl Resource {
    /// Every resource.
    pub const ALL: [Resource; 9] = [
        Resource::Members,
        Resource::Uploads,
        Resource::ChangeSets,
        Resource::Eligibility,
        Resource::Feeds,
        Resource::Events,
        Resource::Settings,
        Resource::Webhooks,
        Resource::Keys,
    ];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Resource::Members => "members",
            Resource::Uploads => "uploads",
            Resource::ChangeSets => "change_sets",
            Resource::Eligibility => "eligibility",
            Resource::Feeds => "feeds",
            Resource::Events => "events",
            Resource::Settings => "settings",
            Resource::Webhooks => "webhooks",
            Resource::Keys => "keys",
        }
    }

    /// Its name in scopes.
    pub fn scope(self) -> &'static str {
        match self {
            Resource::Members => "member",
            Resource::Uploads => "upload",
            Resource::ChangeSets => "change_set",
            Resource::Eligibility => "eligibility",
            Resource::Feeds => "feed",
            Resource::Events => "event",
            Resource::Settings => "settings",
            Resource::Webhooks => "webhook",
            Resource::Keys => "apikey",
        }
    }

    /// The resource of this name, in either form.
    pub fn from_word(word: &str) -> Option<Resource> {
        Resource::ALL.into_iter().find(|r| r.word() == word || r.scope() == word)
    }
}

/// What can be done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Make new ones.
    Create,
    /// Look at them.
    Read,
    /// Change them.
    Update,
    /// Take them away.
    Delete,
    /// Get payloads as they came, and the roster as a file.
    Download,
    /// Approve, reject and undo.
    Approve,
}

impl Action {
    /// Every action.
    pub const ALL: [Action; 6] =
        [Action::Create, Action::Read, Action::Update, Action::Delete, Action::Download, Action::Approve];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Action::Create => "create",
            Action::Read => "read",
            Action::Update => "update",
            Action::Delete => "delete",
            Action::Download => "download",
            Action::Approve => "approve",
        }
    }

    /// Whether there is such an action on a resource.
    pub fn is_of(self, resource: Resource) -> bool {
        match (resource, self) {
            (Resource::Eligibility | Resource::Events, action) => action == Action::Read,
            (Resource::Settings, action) => matches!(action, Action::Read | Action::Update),
            (Resource::ChangeSets, action) => matches!(action, Action::Read | Action::Approve),
            (Resource::Uploads, action) => {
                matches!(action, Action::Create | Action::Read | Action::Delete | Action::Download)
            }
            (Resource::Feeds, action) => matches!(action, Action::Create | Action::Read | Action::Update),
            (Resource::Members, action) => action != Action::Approve,
            (_, action) => !matches!(action, Action::Download | Action::Approve),
        }
    }
}

/// A set of rights.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Rights(u64);

/// A scope that there is none of; says what there is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "There is no scope `{0}`; write RESOURCE:ACTION, with the resource member, upload, change_set, eligibility, feed, event, \
     settings, webhook or apikey, and the action create, read, update, delete, download, approve or write, or * for all of them"
)]
pub struct UnknownScope(pub String);

impl Rights {
    /// No rights.
    pub const NONE: Rights = Rights(0);

    fn bit(resource: Resource, action: Action) -> u64 {
        1 << (resource as usize * Action::ALL.len() + action as usize)
    }

    /// Every right that there is.
    pub fn all() -> Rights {
        Resource::ALL.into_iter().fold(Rights::NONE, |rights, resource| rights.with_all(resource))
    }

    /// These and one more; nothing, if there is no such action on the resource.
    #[must_use]
    pub fn with(self, resource: Resource, action: Action) -> Rights {
        if action.is_of(resource) { Rights(self.0 | Rights::bit(resource, action)) } else { self }
    }

    /// These and all of a resource.
    #[must_use]
    pub fn with_all(self, resource: Resource) -> Rights {
        Action::ALL.into_iter().fold(self, |rights, action| rights.with(resource, action))
    }

    /// Whether it is among them.
    pub fn has(self, resource: Resource, action: Action) -> bool {
        self.0 & Rights::bit(resource, action) != 0
    }

    /// What is in both.
    #[must_use]
    pub fn and(self, other: Rights) -> Rights {
        Rights(self.0 & other.0)
    }

    /// What is in either.
    #[must_use]
    pub fn or(self, other: Rights) -> Rights {
        Rights(self.0 | other.0)
    }

    /// Whether all of these are among others.
    pub fn is_within(self, other: Rights) -> bool {
        self.0 & !other.0 == 0
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Reads scopes; `write` is to create and update, and for keys also to look at them, and `*` is everything.
    ///
    /// # Errors
    /// The first that there is none of.
    pub fn read<'a>(scopes: impl IntoIterator<Item = &'a str>) -> Result<Rights, UnknownScope> {
        scopes.into_iter().try_fold(Rights::NONE, |rights, scope| Ok(rights.or(Rights::of_scope(scope.trim())?)))
    }

    fn of_scope(scope: &str) -> Result<Rights, UnknownScope> {
        let unknown = || UnknownScope(scope.chars().take(60).collect());
        if scope == "*" {
            return Ok(Rights::all());
        }
        let (resource, action) = scope.split_once(':').ok_or_else(unknown)?;
        let resource = Resource::from_word(resource).ok_or_else(unknown)?;
        let rights = match action {
            "*" => Rights::NONE.with_all(resource),
            "write" => {
                let written = Rights::NONE.with(resource, Action::Create).with(resource, Action::Update);
                if resource == Resource::Keys { written.with(resource, Action::Read) } else { written }
            }
            word => {
                let action = Action::ALL.into_iter().find(|a| a.word() == word).ok_or_else(unknown)?;
                Rights::NONE.with(resource, action)
            }
        };
        if rights.is_empty() { Err(unknown()) } else { Ok(rights) }
    }

    /// As scopes, in the order of resources and actions.
    pub fn scopes(self) -> Vec<String> {
        let mut scopes = Vec::new();
        for resource in Resource::ALL {
            for action in Action::ALL.into_iter().filter(|a| self.has(resource, *a)) {
                scopes.push(format!("{}:{}", resource.scope(), action.word()));
            }
        }
        scopes
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.scopes()).finish()
    }
}

impl Serialize for Rights {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.scopes().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Rights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Rights, D::Error> {
        let scopes = Vec::<String>::deserialize(deserializer)?;
        Rights::read(scopes.iter().map(String::as_str)).map_err(serde::de::Error::custom)
    }
}

/// What a user is in an organisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks.
    Viewer,
    /// Looks, sends lists, and decides on what waits.
    Reviewer,
    /// May do everything.
    Administrator,
}

impl Role {
    /// Every role, the weakest first.
    pub const ALL: [Role; 3] = [Role::Viewer, Role::Reviewer, Role::Administrator];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Reviewer => "reviewer",
            Role::Administrator => "administrator",
        }
    }

    /// The role of this name.
    pub fn from_word(word: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|r| r.word() == word)
    }

    /// What it may do. Whoever is no administrator sees only the keys that are mapped to them.
    pub fn rights(self) -> Rights {
        let looks = Resource::ALL.into_iter().fold(Rights::NONE, |rights, r| rights.with(r, Action::Read));
        match self {
            Role::Viewer => looks,
            Role::Reviewer => looks
                .with(Resource::ChangeSets, Action::Approve)
                .with(Resource::Uploads, Action::Create)
                .with(Resource::Uploads, Action::Download)
                .with(Resource::Members, Action::Download),
            Role::Administrator => Rights::all(),
        }
    }
}
