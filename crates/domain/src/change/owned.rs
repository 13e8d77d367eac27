//! A change that borrows from nothing, so that it outlives the line or the member from which it was made.

use super::{Change, Named, SaidWord};

impl Change<'_> {
    /// The same change with texts of its own.
    pub fn into_owned(self) -> Change<'static> {
        let list = |named: Named<'_>| -> Named<'static> {
            named.into_iter().map(|(n, v)| (n.into_owned().into(), v.map(|v| v.into_owned().into()))).collect()
        };
        let text = |t: Option<std::borrow::Cow<'_, str>>| t.map(|t| t.into_owned().into());
        Change {
            kind: self.kind,
            no: self.no,
            member: self.member,
            key: self.key.into_owned().into(),
            old_key: text(self.old_key),
            line: self.line,
            from: list(self.from),
            to: list(self.to),
            said: list(self.said),
            raw: list(self.raw),
            unproven: self.unproven,
            ends: self.ends,
            evidence: text(self.evidence),
            effective_on: text(self.effective_on),
            spells: self.spells,
            old_spells: self.old_spells,
            aliases: self.aliases.map(|a| a.into_iter().map(|a| a.into_owned().into()).collect()),
            words: self
                .words
                .into_iter()
                .map(|w| SaidWord {
                    feed: w.feed,
                    field: w.field.into_owned().into(),
                    value: w.value.map(|v| v.into_owned().into()),
                    reason: w.reason,
                })
                .collect(),
            row: list(self.row),
        }
    }
}
