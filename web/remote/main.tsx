import { render } from 'preact';
import { Root } from './root';
import './style.css';

const place = document.getElementById('app');
if (place) render(<Root />, place);
