/** What the navigation offers, to whom. */
import type { Session } from '$lib/api/session.svelte';
import type { Dictionary } from '$lib/i18n/en';
import Activity from '@lucide/svelte/icons/activity';
import Bot from '@lucide/svelte/icons/bot';
import ChartColumn from '@lucide/svelte/icons/chart-column';
import Clock from '@lucide/svelte/icons/clock';
import House from '@lucide/svelte/icons/house';
import KeyRound from '@lucide/svelte/icons/key-round';
import MessageSquare from '@lucide/svelte/icons/message-square';
import Network from '@lucide/svelte/icons/network';
import Route from '@lucide/svelte/icons/route';
import ScrollText from '@lucide/svelte/icons/scroll-text';
import Server from '@lucide/svelte/icons/server';
import SlidersHorizontal from '@lucide/svelte/icons/sliders-horizontal';
import UserCircle from '@lucide/svelte/icons/circle-user';
import Users from '@lucide/svelte/icons/users';
import Waypoints from '@lucide/svelte/icons/waypoints';
import type { Component } from 'svelte';

type Texts = Dictionary['nav'];

export interface Place {
  href: string;
  text: (texts: Texts) => string;
  icon: Component;
  isFor: (session: Session) => boolean;
}

export interface Group {
  text: (texts: Texts) => string;
  places: Place[];
}

const everybody = (): boolean => true;
const readers = (session: Session): boolean => session.isReader;
const owners = (session: Session): boolean => session.isOwner;
const auditors = (session: Session): boolean => session.isAuditor;

export const NAVIGATION: Group[] = [
  {
    text: (it) => it.observe,
    places: [
      { href: '#/', text: (it) => it.home, icon: House, isFor: everybody },
      { href: '#/health', text: (it) => it.health, icon: Activity, isFor: readers },
      { href: '#/fleet', text: (it) => it.fleet, icon: Network, isFor: readers },
      { href: '#/stats', text: (it) => it.stats, icon: ChartColumn, isFor: everybody },
    ],
  },
  {
    text: (it) => it.configure,
    places: [
      { href: '#/keys', text: (it) => it.apiKeys, icon: KeyRound, isFor: everybody },
      { href: '#/providers', text: (it) => it.providers, icon: Server, isFor: readers },
      { href: '#/models', text: (it) => it.models, icon: Route, isFor: readers },
      { href: '#/explain', text: (it) => it.explain, icon: Waypoints, isFor: readers },
      { href: '#/playground', text: (it) => it.playground, icon: MessageSquare, isFor: owners },
      { href: '#/settings', text: (it) => it.settings, icon: SlidersHorizontal, isFor: readers },
    ],
  },
  {
    text: (it) => it.govern,
    places: [
      { href: '#/users', text: (it) => it.users, icon: Users, isFor: auditors },
      { href: '#/tokens', text: (it) => it.serviceTokens, icon: Bot, isFor: auditors },
      { href: '#/history', text: (it) => it.history, icon: Clock, isFor: readers },
      { href: '#/audit', text: (it) => it.audit, icon: ScrollText, isFor: auditors },
    ],
  },
  {
    text: (it) => it.yours,
    places: [{ href: '#/account', text: (it) => it.account, icon: UserCircle, isFor: everybody }],
  },
];
