//! What is left out where GitHub does not take a request as it is (400, 422).

use super::super::Draft;
use super::super::fields::{Field, Why, same};
use super::{Failure, FieldTrouble, Filing, MOST_TRIED, Request, Task, Trouble};

impl Failure {
    /// GitHub says so, with status 422, where requests follow each other too quickly: a rate limit in other words.
    pub(super) fn is_too_quick(&self) -> bool {
        let is_it = |text: &str| text.contains("submitted too quickly");
        is_it(&self.words) || self.fields.iter().any(|field| is_it(&field.message))
    }
}

impl Failure {
    /// People have locked the issue: nobody without push access may comment on it (403).
    pub(super) fn says_locked(&self) -> bool {
        let words = self.words.to_lowercase();
        // Not the word alone: it may be a part of a repository's name.
        self.trouble == Trouble::Lasting
            && ["is locked", "been locked", "locked issue"].iter().any(|it| words.contains(it))
    }
}

impl Filing {
    /// GitHub will not take this as it is. Returns whether that settles what to do next.
    pub(super) fn was_refused(&mut self, draft: &Draft, request: &Request, failure: &Failure) -> bool {
        match request {
            Request::Create(_) => {
                if !self.leave_out_named(draft, failure) && !self.leave_out_anything(draft, failure) {
                    self.refused = Some(format!("GitHub refuses the issue: {}", failure.words));
                }
                true
            }
            Request::AskAssignee { login } => {
                self.asked_about(login, false);
                true
            }
            Request::Comment { .. } => {
                self.close(draft, &Why::Refused(failure.words.clone()));
                true
            }
            // The issue is there; that it lacks something is known from the events.
            Request::Amend { .. } => {
                self.tasks.remove(&Task::Amend);
                true
            }
            _ => false,
        }
    }

    /// Leaves out what the answer names. Returns whether that was anything.
    fn leave_out_named(&mut self, draft: &Draft, failure: &Failure) -> bool {
        let mut is_less = false;
        for trouble in &failure.fields {
            is_less |= match Field::of(trouble) {
                Some(Field::Assignee) => self.refused_assignees(draft, trouble),
                Some(Field::Milestone) => self.refused_milestone(draft, &trouble.message),
                Some(Field::Label) => self.refused_labels(draft, trouble),
                Some(Field::Text) | None => false,
            };
        }
        is_less
    }

    /// The answer names nothing: leaves out one kind of thing. Returns whether there was any. Assignees of whom GitHub said
    /// that they may be come last.
    fn leave_out_anything(&mut self, draft: &Draft, failure: &Failure) -> bool {
        let unnamed = FieldTrouble { message: failure.words.clone(), ..FieldTrouble::default() };
        (self.to_ask.is_none() && self.refused_assignees(draft, &unnamed))
            || self.refused_milestone(draft, &failure.words)
            || self.refused_labels(draft, &unnamed)
            || self.refused_assignees(draft, &unnamed)
    }

    fn refused_assignees(&mut self, draft: &Draft, trouble: &FieldTrouble) -> bool {
        let wanted = self.wanted(Field::Assignee, &draft.assignees);
        if wanted.is_empty() {
            return false;
        }
        let named: Vec<_> = wanted.iter().filter(|login| trouble.names(login)).collect();
        if named.is_empty() && self.to_ask.is_none() {
            self.to_ask = Some(wanted);
            return true;
        }
        // If none is named, each of them may be assigned, and yet together they are refused.
        let refused = || Why::Refused(trouble.message.clone());
        let (logins, why) =
            if named.is_empty() { (wanted.iter().collect(), refused()) } else { (named, Why::NotAssignable) };
        for login in logins {
            self.leave_out(Field::Assignee, login, why.clone());
        }
        true
    }

    fn refused_milestone(&mut self, draft: &Draft, words: &str) -> bool {
        let Some(title) = self.wanted_milestone(draft) else { return false };
        self.leave_out(Field::Milestone, title, Why::Refused(words.to_owned()));
        true
    }

    fn refused_labels(&mut self, draft: &Draft, trouble: &FieldTrouble) -> bool {
        let why = || Why::Refused(trouble.message.clone());
        let wanted = self.wanted(Field::Label, &draft.labels);
        let named: Vec<_> = wanted.iter().filter(|label| trouble.names(label)).collect();
        if !named.is_empty() {
            for label in named {
                self.leave_out(Field::Label, label, why());
            }
            return true;
        }
        // It is refused still: it was not that one.
        if let Some(label) = self.on_trial.take() {
            self.left_out.retain(|one| !one.is(Field::Label, &label));
        }
        let wanted = self.wanted(Field::Label, &draft.labels);
        let to_try = self.to_try.get_or_insert_with(|| match wanted.len() {
            0 | 1 => Vec::new(),
            _ => wanted.iter().take(MOST_TRIED).rev().cloned().collect(),
        });
        if let Some(label) = to_try.pop() {
            self.leave_out(Field::Label, &label, why());
            self.on_trial = Some(label);
            return true;
        }
        for label in &wanted {
            self.leave_out(Field::Label, label, why());
        }
        !wanted.is_empty()
    }
}

impl Field {
    fn of(trouble: &FieldTrouble) -> Option<Self> {
        let (resource, field) = (trouble.resource.to_lowercase(), trouble.field.to_lowercase());
        [Self::Assignee, Self::Milestone, Self::Label]
            .into_iter()
            .find(|known| field.starts_with(known.as_str()) || resource == known.as_str())
    }
}

impl FieldTrouble {
    /// Whether its value is this name, or a list with this name in it.
    fn names(&self, name: &str) -> bool {
        let Some(value) = &self.value else { return false };
        same(value, name)
            || value
                .trim_matches(['[', ']', ' '])
                .split(',')
                .any(|one| same(one.trim().trim_matches(['"', '\'']), name))
    }
}
