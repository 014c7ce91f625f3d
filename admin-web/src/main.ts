import { language } from '$lib/i18n/index.svelte';
import { mount } from 'svelte';
import App from './App.svelte';
import './styles/tokens.css';
import './styles/base.css';
import './styles/floating.css';

const target = document.getElementById('app');
if (target !== null) void language.load().then(() => mount(App, { target }));
