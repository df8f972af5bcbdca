// Draws the figures of a report from the JSON beside each. Names reach the page as text only.
(() => {
  'use strict';
  const narrow = (width) => width < 480;
  const cut = (name, length) => name.length <= length ? name : name.slice(0, length - 1) + '…';
  /** Shortens a text that is wider than its room. */
  function fit(node, room) {
    for (let n = node.textContent.length - 1; n > 3 && node.getComputedTextLength() > room; n--) {
      node.textContent = cut(node.textContent, n);
    }
  }
  const shades = (t) => d3.interpolateViridis(0.04 + 0.96 * t);

  /** A figure's drawing: marks is what hover and the arrow keys go through, in reading order. */
  function canvas(plot, width, height, label) {
    plot.replaceChildren();
    const svg = d3.select(plot).append('svg')
        .attr('viewBox', `0 0 ${width} ${height}`).attr('width', width).attr('height', height)
        .attr('role', 'img').attr('tabindex', 0).attr('aria-label', label);
    return svg;
  }

  /** Shows a mark's text where the pointer is, or where the arrow keys have come to. */
  function explore(plot, tip, svg, marks) {
    let at = -1;
    const hide = () => {
      tip.style.visibility = 'hidden';
      svg.selectAll('.here').classed('here', false);
    };
    const show = (index) => {
      hide();
      at = index;
      const mark = marks[index];
      tip.textContent = mark.text;
      mark.node.classList.add('here');
      const box = mark.node.getBoundingClientRect();
      const frame = plot.parentElement.getBoundingClientRect();
      const left = box.left - frame.left + box.width / 2 - tip.offsetWidth / 2;
      tip.style.left = Math.max(0, Math.min(left, frame.width - tip.offsetWidth)) + 'px';
      tip.style.top = (box.top - frame.top - tip.offsetHeight - 6) + 'px';
      tip.style.visibility = 'visible';
    };
    marks.forEach((mark, index) => {
      (mark.target || mark.node).addEventListener('pointerenter', () => show(index));
      (mark.target || mark.node).addEventListener('pointerdown', () => show(index));
    });
    svg.on('pointerleave', hide).on('blur', hide).on('keydown', (event) => {
      const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
      if (event.key === 'Escape') {
        hide();
      } else if (event.key === 'Home' || event.key === 'End') {
        show(event.key === 'Home' ? 0 : marks.length - 1);
        event.preventDefault();
      } else if (step && marks.length) {
        show(Math.max(0, Math.min(marks.length - 1, at + step)));
        event.preventDefault();
      }
    });
  }

  const percent = (unit) => (v) => unit === '%' || unit === 'points' ? Math.round(100 * v) : v;

  function horizontal(svg, scale, height, unit, ticks) {
    svg.append('g').attr('class', 'axis').attr('transform', `translate(0,${height})`)
        .call(d3.axisBottom(scale).ticks(ticks).tickSizeInner(-height).tickSizeOuter(0)
            .tickFormat(unit === '%' || unit === 'points' ? percent(unit) : null));
  }

  /** bars: {group, name, role, value, text, low?, high?, more?}; groups one below the other. */
  function bars(plot, tip, figure, width, label) {
    const grouped = figure.bars.some((bar) => bar.group);
    const left = narrow(width) ? 118 : 190;
    const right = 64, row = 19, head = grouped ? 20 : 0, gap = grouped ? 8 : 0;
    let y = 0, group = null;
    const places = figure.bars.map((bar) => {
      if (bar.group !== group) {
        y += (group === null ? 0 : gap) + head;
        group = bar.group;
      }
      y += row;
      return y - row;
    });
    const height = y + 4;
    const svg = canvas(plot, width, height + 34, label);
    const most = figure.top || d3.max(figure.bars, (bar) => bar.value) || 1;
    const x = d3.scaleLinear([0, most], [left, width - right]);
    horizontal(svg, x, height, figure.unit, narrow(width) ? 4 : 8);
    svg.append('text').attr('class', 'quiet').attr('x', left).attr('y', height + 30).text(figure.unit);
    const marks = [];
    figure.bars.forEach((bar, index) => {
      const top = places[index], middle = top + row / 2;
      if (grouped && (index === 0 || figure.bars[index - 1].group !== bar.group)) {
        svg.append('text').attr('class', 'block').attr('x', 0).attr('y', top - 6)
            .text(cut(bar.group, narrow(width) ? 40 : 80));
      }
      svg.append('text').attr('x', left - 6).attr('y', middle).attr('dy', '.35em')
          .attr('text-anchor', 'end').text(cut(bar.name, narrow(width) ? 18 : 30))
          .each(function () { fit(this, left - 6); });
      const node = svg.append('rect').attr('class', 'fill-' + bar.role).attr('x', left).attr('y', top + 2)
          .attr('width', Math.max(1, x(bar.value) - left)).attr('height', row - 4).attr('rx', 1.5).node();
      if (bar.low !== undefined) {
        svg.append('path').attr('class', 'whisker').attr('pointer-events', 'none')
            .attr('d', `M${x(bar.low)},${middle}H${x(bar.high)}M${x(bar.low)},${middle - 3}v6M${x(bar.high)},${middle - 3}v6`);
      }
      const end = Math.max(x(bar.value), bar.high === undefined ? 0 : x(bar.high));
      svg.append('text').attr('class', 'quiet').attr('x', end + 5).attr('y', middle).attr('dy', '.35em')
          .text(bar.text);
      const target = svg.append('rect').attr('x', 0).attr('y', top).attr('width', width).attr('height', row)
          .attr('fill', 'transparent').node();
      marks.push({node, target,
        text: [bar.group, bar.name].filter(Boolean).join(', ') + ': ' + bar.text + (bar.more ? '; ' + bar.more : '')});
    });
    explore(plot, tip, svg, marks);
  }

  /** dots: {name, value, text, low, high, more} around zero. */
  function dots(plot, tip, figure, width, label) {
    const left = narrow(width) ? 100 : 150, right = 24, row = 22;
    const height = row * figure.dots.length + 4;
    const svg = canvas(plot, width, height + 34, label);
    const x = d3.scaleLinear([Math.min(0, d3.min(figure.dots, (d) => d.low)),
      Math.max(0, d3.max(figure.dots, (d) => d.high))], [left, width - right]).nice();
    horizontal(svg, x, height, figure.unit, narrow(width) ? 4 : 8);
    svg.append('text').attr('class', 'quiet').attr('x', left).attr('y', height + 30)
        .text('points against the average');
    svg.append('path').attr('class', 'zero').attr('d', `M${x(0)},0V${height}`);
    const marks = figure.dots.map((dot, index) => {
      const middle = row * index + row / 2;
      svg.append('text').attr('x', left - 8).attr('y', middle).attr('dy', '.35em').attr('text-anchor', 'end')
          .attr('class', dot.name === 'mean' ? 'block' : null).text(cut(dot.name, narrow(width) ? 15 : 24))
          .each(function () { fit(this, left - 8); });
      svg.append('path').attr('class', 'whisker').attr('d', `M${x(dot.low)},${middle}H${x(dot.high)}`);
      const node = svg.append('circle').attr('class', 'fill-this').attr('cx', x(dot.value)).attr('cy', middle)
          .attr('r', 5).node();
      const target = svg.append('rect').attr('x', 0).attr('y', row * index).attr('width', width)
          .attr('height', row).attr('fill', 'transparent').node();
      return {node, target, text: dot.name + ': ' + dot.text + '; ' + dot.more};
    });
    explore(plot, tip, svg, marks);
  }

  /** cells: [block, row, column, value, text]; a block of rows for each kind of parameter. */
  function heat(plot, tip, figure, width, label) {
    const left = narrow(width) ? 84 : 130, right = 4;
    const head = 24, gap = 18, least = 32, used = new Set(figure.cells.map((cell) => cell[0]));
    const blocks = figure.blocks.map((name, index) => ({name, index})).filter((b) => used.has(b.index));
    const named = blocks.some((b) => b.name);
    // Blocks stand side by side where their cells have room, and share the width.
    const across = named
      ? Math.max(1, Math.min(blocks.length, Math.floor((width + gap) / (left + right + least * figure.columns.length + gap))))
      : 1;
    const room = (width - gap * (across - 1)) / across;
    const size = Math.min((room - left - right) / figure.columns.length, figure.square ? 58 : 64);
    const row = figure.square ? Math.max(20, Math.min(size, 40)) : 16;
    const block = figure.rows.length * row + (named ? head : 6);
    const turned = d3.max(figure.columns, (name) => Math.min(name.length, 24)) * 6.4 > size - 4;
    const foot = turned ? Math.min(24, d3.max(figure.columns, (name) => name.length)) * 6.6 + 10 : 22;
    const wide = left + size * figure.columns.length + gap;
    const lines = Math.ceil(blocks.length / across);
    const height = lines * block + foot + 44;
    const svg = canvas(plot, width, height, label);
    const values = figure.cells.map((cell) => cell[3]);
    const [low, high] = d3.extent(values);
    const scale = figure.scale === 'log'
      ? d3.scaleSequentialLog([low, high === low ? high * 1.0001 : high], shades)
      : d3.scaleSequential([figure.square ? Math.min(.9, Math.floor(10 * low) / 10) : low, figure.top || Math.max(high, low + 0.05)], shades);
    const tops = new Map(blocks.map((b, k) => [b.index, Math.floor(k / across) * block + (named ? head : 6)]));
    const lefts = new Map(blocks.map((b, k) => [b.index, (k % across) * wide]));
    const kept = [];
    blocks.forEach((b) => {
      if (b.name) {
        svg.append('text').attr('class', 'block').attr('x', lefts.get(b.index)).attr('y', tops.get(b.index) - 7)
            .text(cut(b.name, narrow(width) ? 44 : 90));
      }
      figure.rows.forEach((name, r) => {
        svg.append('text').attr('x', lefts.get(b.index) + left - 6).attr('y', tops.get(b.index) + (r + .5) * row).attr('dy', '.35em')
            .attr('text-anchor', 'end').text(cut(name, narrow(width) ? 12 : 20));
      });
    });
    const cells = figure.cells.slice().sort((a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2]);
    cells.forEach(([b, r, c, value, text]) => {
      const node = svg.append('rect').attr('x', lefts.get(b) + left + c * size + .5).attr('y', tops.get(b) + r * row + .5)
          .attr('width', Math.max(1, size - 1)).attr('height', row - 1).attr('fill', scale(value)).node();
      if (figure.square && size > 34) {
        const colour = d3.lab(scale(value)).l > 55 ? '#000' : '#fff';
        svg.append('text').attr('x', left + (c + .5) * size).attr('y', tops.get(b) + (r + .5) * row).attr('dy', '.35em')
            .attr('text-anchor', 'middle').attr('pointer-events', 'none').style('fill', colour)
            .text(text.replace(/^0\./, '.').slice(0, 4));
      }
      kept.push({node, text: [figure.blocks[b], figure.rows[r], figure.columns[c]].filter(Boolean).join(', ') + ': ' + text});
    });
    const bottom = lines * block + 4;
    const standing = Math.min(across, blocks.length);
    d3.cross(d3.range(standing), figure.columns.map((name, c) => [name, c])).forEach(([k, [name, c]]) => {
      const x = k * wide + left + (c + .5) * size;
      svg.append('text').attr('class', 'quiet')
          .attr('transform', turned ? `translate(${x + 4},${bottom + 4})rotate(-90)` : `translate(${x},${bottom + 12})`)
          .attr('text-anchor', turned ? 'end' : 'middle').text(cut(name, 24));
    });
    // The legend: what the shades stand for.
    const from = left, to = Math.min(width - 60, left + 220), y = height - 26;
    const steps = 40;
    for (let k = 0; k < steps; k++) {
      svg.append('rect').attr('x', from + (to - from) * k / steps).attr('y', y).attr('height', 9)
          .attr('width', (to - from) / steps + .6).attr('fill', shades((k + .5) / steps));
    }
    const domain = scale.domain();
    const format = figure.unit === '%' ? (v) => d3.format('.1~f')(100 * v) + ' %' : d3.format(figure.scale === 'log' ? '.1e' : '.2~f');
    svg.append('text').attr('class', 'quiet').attr('x', from).attr('y', y + 22).text(format(domain[0]));
    svg.append('text').attr('class', 'quiet').attr('x', to).attr('y', y + 22).attr('text-anchor', 'end')
        .text(format(domain[domain.length - 1]));
    explore(plot, tip, svg, kept);
  }

  /** points: {at, value, name, text}; a line for the best so far. */
  function steps(plot, tip, figure, width, label) {
    const left = 56, right = 14, height = 220;
    const svg = canvas(plot, width, height + 40, label);
    const x = d3.scaleLinear([1, Math.max(2, d3.max(figure.points, (p) => p.at))], [left, width - right]);
    const y = d3.scaleLinear(d3.extent(figure.points, (p) => p.value), [height, 8]).nice();
    svg.append('g').attr('class', 'axis').attr('transform', `translate(${left},0)`)
        .call(d3.axisLeft(y).ticks(6).tickSizeInner(-(width - left - right)).tickSizeOuter(0));
    svg.append('g').attr('class', 'axis').attr('transform', `translate(0,${height})`)
        .call(d3.axisBottom(x).ticks(narrow(width) ? 5 : 10).tickSizeOuter(0).tickFormat(d3.format('d')));
    svg.append('text').attr('class', 'quiet').attr('x', left).attr('y', height + 36)
        .text('try; ' + figure.unit + ', the line is the best so far');
    let best = null;
    const line = figure.points.map((p) => {
      best = best === null ? p.value : figure.less ? Math.min(best, p.value) : Math.max(best, p.value);
      return [x(p.at), y(best)];
    });
    svg.append('path').attr('class', 'step').attr('d', d3.line().curve(d3.curveStepAfter)(line));
    const marks = figure.points.map((p) => ({
      node: svg.append('circle').attr('cx', x(p.at)).attr('cy', y(p.value)).attr('r', p.at === figure.best + 1 ? 6 : 4)
          .attr('class', p.at === figure.best + 1 ? 'fill-average' : 'fill-this').node(),
      text: p.name + ': ' + p.text}));
    explore(plot, tip, svg, marks);
  }

  const kinds = {bars, dots, heat, steps};
  function draw(figure) {
    const plot = figure.querySelector('.plot');
    const tip = figure.querySelector('.tip');
    const data = JSON.parse(figure.querySelector('script').textContent);
    const width = Math.max(280, Math.floor(figure.clientWidth));
    if (width !== figure.drawnAt) {
      figure.drawnAt = width;
      kinds[data.type](plot, tip, data, width, figure.dataset.label);
    }
  }
  const figures = [...document.querySelectorAll('figure[data-label]')];
  figures.forEach(draw);
  let waiting = 0;
  addEventListener('resize', () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => figures.forEach(draw));
  });
})();
